  (import "weir:plugin/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  ;; What every hostile component shares: a heap that starts anew after each call, the answer at 64,
  ;; verdicts from 65536 on (room for 16384 of 8 bytes), the heap behind them.
  (memory (export "memory") 8)
  (global $heap (mut i32) (i32.const 262144))
  (func $allocate (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32)
      (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (i32.const -1)
              (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))))
          (then (unreachable)))))
    (local.get $at))
  ;; Answers with `len` items at `at`.
  (func $answer (param $at i32) (param $len i32) (result i32)
    (global.set $heap (i32.const 262144))
    (i32.store8 (i32.const 64) (i32.const 0))
    (i32.store (i32.const 68) (local.get $at))
    (i32.store (i32.const 72) (local.get $len))
    (i32.const 64))
  ;; Keeps every record.
  (func $keep_all (param $count i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 1) (local.get $count))
    (call $answer (i32.const 65536) (local.get $count)))
