;; world: filter-plugin
;; Calls a function of another type through its table.
  (table $table funcref (elem $other))
  (func $other (param i32))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call_indirect $table (result i32) (i32.const 0)))
