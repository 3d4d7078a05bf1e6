;; world: filter-plugin
;; Traps on more than one record: it does not judge each by itself.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get $count) (i32.const 1)) (then (unreachable)))
    (call $keep_all (local.get $count)))
