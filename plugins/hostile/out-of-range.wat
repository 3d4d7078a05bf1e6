;; world: filter-plugin
;; Answers 7, which is neither keep nor drop.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (drop (call $keep_all (local.get $count)))
    (memory.fill (i32.const 65536) (i32.const 7) (local.get $count))
    (call $answer (i32.const 65536) (local.get $count)))
