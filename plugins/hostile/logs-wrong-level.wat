;; world: filter-plugin
;; Logs at a level that there is not.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call $log (i32.const 9) (i32.const 1024) (i32.const 0))
    (call $keep_all (local.get $count)))
