;; world: retry-plugin
;; Decides to try again in half a billion years, for up to two records.
  (data (i32.const 1024) (i32 0 2048 0))
  (data (i32.const 2048) (i32 0 0 -1 -1 0 0 -1 -1))
  (func (export "weir:plugin/retry@1.0.0#decide") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (param i32 i32) (result i32)
    (global.set $heap (i32.const 262144))
    (i32.store (i32.const 1032) (local.get $count))
    (i32.const 1024))
