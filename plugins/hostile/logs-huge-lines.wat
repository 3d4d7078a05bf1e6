;; world: filter-plugin
;; Logs a line of 400,000 bytes.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 46) (i32.const 400000))
    (call $log (i32.const 3) (i32.const 65536) (i32.const 400000))
    (call $keep_all (local.get $count)))
