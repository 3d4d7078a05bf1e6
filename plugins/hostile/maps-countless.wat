;; world: mapper-plugin
;; Answers a hundred million outputs.
  (data (i32.const 1024) (i32 0 2048 100000000 0 0 3072 400000000 0 0 0 0))
  (func (export "weir:plugin/mapper@1.0.0#apply") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 262144))
    (i32.const 1024))
