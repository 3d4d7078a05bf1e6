;; world: filter-plugin
;; Logs an error that clears a terminal, colours it and rings, in two lines, then traps.
  (data (i32.const 1024) "\1b[2J\1b[31mall is well\07\0d\0aweir: \e2\80\aedone\c2\9b")
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (call $log (i32.const 3) (i32.const 1024) (i32.const 38))
    (unreachable))
