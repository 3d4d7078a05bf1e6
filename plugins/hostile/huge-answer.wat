;; world: filter-plugin
;; Answers 32 MiB of verdicts.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (drop (memory.grow (i32.const 512)))
    (call $answer (i32.const 65536) (i32.const 33554432)))
