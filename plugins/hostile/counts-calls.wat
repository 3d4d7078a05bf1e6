;; world: filter-plugin
;; Keeps records or not by how many calls the instance has seen.
  (global $calls (mut i32) (i32.const 0))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (drop (call $keep_all (local.get $count)))
    (memory.fill (i32.const 65536) (i32.and (global.get $calls) (i32.const 1)) (local.get $count))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (call $answer (i32.const 65536) (local.get $count)))
