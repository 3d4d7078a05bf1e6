;; world: filter-plugin
;; Logs lines of 100,000 bytes, for ever.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 46) (i32.const 100000))
    (loop $for_ever
      (call $log (i32.const 3) (i32.const 65536) (i32.const 100000))
      (br $for_ever))
    (unreachable))
