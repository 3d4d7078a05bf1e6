;; world: filter-plugin
;; Has a table of a million elements.
  (table $table 1000000 funcref)
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call $keep_all (local.get $count)))
