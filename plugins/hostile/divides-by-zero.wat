;; world: filter-plugin
;; Divides by the number of records less that number.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (i32.div_u (i32.const 1) (i32.sub (local.get $count) (local.get $count))))
