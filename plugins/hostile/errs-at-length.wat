;; world: filter-plugin
;; Answers an error of 200,000 bytes.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (memory.fill (i32.const 262144) (i32.const 33) (i32.const 200000))
    (drop (call $answer (i32.const 262144) (i32.const 200000)))
    (i32.store8 (i32.const 64) (i32.const 1))
    (i32.const 64))
