  ;; Asks for the value column.
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (i64.store (i32.const 32) (i64.const 0))
    (i64.store (i32.const 40) (i64.const 0))
    (i32.store8 (i32.const 37) (i32.const 1))
    (i32.const 32))
