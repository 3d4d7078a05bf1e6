;; world: filter-plugin
;; Has three memories.
  (memory $second 1)
  (memory $third 1)
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call $keep_all (local.get $count)))
