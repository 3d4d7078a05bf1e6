;; world: retry-plugin
;; Decides something that there is not.
  (data (i32.const 1024) (i32 0 2048 1))
  (data (i32.const 2048) (i32 7 0 0 0))
  (func (export "weir:plugin/retry@1.0.0#decide") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (param i32 i32) (result i32)
    (global.set $heap (i32.const 262144))
    (i32.const 1024))
