;; world: ordering-key-plugin
;; Takes memory, a mebibyte at a time, and writes to it.
  (func (export "weir:plugin/ordering-key@1.0.0#keys") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $at i32)
    (loop $more
      (local.set $at (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)))
      (memory.fill (local.get $at) (i32.const 1) (i32.const 1048576))
      (br $more))
    (unreachable))
