;; world: filter-plugin
;; Counts to two million in `configure`, and needs too much memory for more than one record.
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (local $i i32)
    (loop $count_on
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $count_on (i32.lt_u (local.get $i) (i32.const 2000000))))
    (i64.store (i32.const 32) (i64.const 0))
    (i64.store (i32.const 40) (i64.const 0))
    (i32.const 32))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get $count) (i32.const 1))
      (then (drop (memory.grow (i32.const 8192)))))
    (call $keep_all (local.get $count)))
