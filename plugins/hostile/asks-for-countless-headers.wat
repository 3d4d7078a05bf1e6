;; world: filter-plugin
;; Asks for ten thousand headers.
  (data (i32.const 2048) "h")
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (local $i i32)
    (loop $next
      (i64.store (i32.add (i32.const 65536) (i32.shl (local.get $i) (i32.const 3)))
        (i64.const 0x100000800))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 10000))))
    (i32.store (i32.const 40) (i32.const 65536))
    (i32.store (i32.const 44) (i32.const 10000))
    (i32.const 32))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (unreachable))
