;; world: filter-plugin
;; Loops for ever in configure.
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (loop $for_ever (br $for_ever))
    (unreachable))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (unreachable))
