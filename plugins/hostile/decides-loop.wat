;; world: retry-plugin
;; Never answers.
  (func (export "weir:plugin/retry@1.0.0#decide") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (param i32 i32) (result i32)
    (loop $for_ever (br $for_ever))
    (unreachable))
