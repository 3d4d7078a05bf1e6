;; world: filter-plugin
;; Keeps every record after counting to eight million for each.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i64)
    (loop $count_on
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $count_on (i64.lt_u (local.get $i)
        (i64.mul (i64.extend_i32_u (local.get $count)) (i64.const 8000000)))))
    (call $keep_all (local.get $count)))
