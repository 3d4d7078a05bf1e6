;; world: filter-plugin
;; Logs its own memory's first 100 bytes a thousand times, then loops for ever.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i32)
    (memory.fill (i32.const 1024) (i32.const 46) (i32.const 100))
    (loop $again
      (call $log (i32.const 1) (i32.const 1024) (i32.const 100))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
    (loop $for_ever (br $for_ever))
    (unreachable))
