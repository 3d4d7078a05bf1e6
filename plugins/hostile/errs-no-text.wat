;; world: filter-plugin
;; Answers an error whose text is no UTF-8.
  (data (i32.const 1024) "\ff\fe\80\c0")
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (drop (call $answer (i32.const 1024) (i32.const 4)))
    (i32.store8 (i32.const 64) (i32.const 1))
    (i32.const 64))
