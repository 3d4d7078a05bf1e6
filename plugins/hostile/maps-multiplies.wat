;; world: mapper-plugin
;; Answers 16,384 outputs, the value of each of them all its 65,536 bytes of data: a gigabyte.
  (func (export "weir:plugin/mapper@1.0.0#apply") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i32)
    (memory.fill (i32.const 65536) (i32.const 0) (i32.const 65536))
    (drop (memory.grow (i32.const 8)))
    (loop $next
      (i32.store offset=524292 (i32.shl (local.get $i) (i32.const 4)) (i32.const -1))
      (i32.store offset=524300 (i32.shl (local.get $i) (i32.const 4)) (i32.const 65536))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 16384))))
    (global.set $heap (i32.const 262144))
    (i32.const 1024))
  (data (i32.const 1024) (i32 0 65536 16384 65536 65536 524288 65536 0 0 0 0))
