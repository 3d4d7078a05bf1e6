;; world: filter-plugin
;; Keeps every record after counting to sixteen million.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i32)
    (loop $count_on
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $count_on (i32.lt_u (local.get $i) (i32.const 16000000))))
    (call $keep_all (local.get $count)))
