;; world: router-plugin
;; Answers the third route, declared or not.
  (func (export "weir:plugin/router@1.0.0#route") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i32)
    (loop $next
      (i64.store (i32.add (i32.const 65536) (i32.shl (local.get $i) (i32.const 3))) (i64.const 4))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $count))))
    (call $answer (i32.const 65536) (local.get $count)))
