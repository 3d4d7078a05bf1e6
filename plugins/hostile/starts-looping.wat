;; world: filter-plugin
;; Loops for ever before it can be configured.
  (start $looping)
  (func $looping (loop $for_ever (br $for_ever)))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (unreachable))
