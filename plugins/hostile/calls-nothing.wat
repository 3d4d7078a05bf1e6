;; world: filter-plugin
;; Calls what is not in its table.
  (table $table 8 funcref)
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call_indirect $table (result i32) (i32.const 7)))
