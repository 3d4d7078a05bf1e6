;; world: filter-plugin
;; version: 1.9.0
;; Built against a later minor version of the contract, of which it uses what 1.0 has: it logs
;; "hello" and keeps every record.
  (data (i32.const 1024) "hello")
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call $log (i32.const 1) (i32.const 1024) (i32.const 5))
    (call $keep_all (local.get $count)))
