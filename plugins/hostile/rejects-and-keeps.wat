;; world: mapper-plugin
;; Rejects a record that it keeps.
  (data (i32.const 1024) (i32 0 2048 1 0 0 3072 4 0 0 4096 1))
  (data (i32.const 2048) (i32 0))
  (data (i32.const 3072) (i32 0 -2 0 -2 0 -2 0 -2))
  (data (i32.const 4096) (i32 0 8192 2))
  (data (i32.const 8192) "no")
  (func (export "weir:plugin/mapper@1.0.0#apply") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 262144))
    (i32.const 1024))
