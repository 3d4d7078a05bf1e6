;; world: filter-plugin
;; Refuses every configuration, politely.
  (data (i32.const 128) "no configuration pleases me")
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (i32.store8 (i32.const 32) (i32.const 1))
    (i32.store (i32.const 36) (i32.const 128))
    (i32.store (i32.const 40) (i32.const 27))
    (i32.const 32))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (unreachable))
