;; world: filter-plugin
;; Traps when an instance is called a second time.
  (global $calls (mut i32) (i32.const 0))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (if (global.get $calls) (then (unreachable)))
    (global.set $calls (i32.const 1))
    (call $keep_all (local.get $count)))
