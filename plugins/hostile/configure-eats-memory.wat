;; world: filter-plugin
;; Takes memory in configure.
  (func (export "weir:plugin/lifecycle@1.0.0#configure") (param i32 i32 i32 i32 i32) (result i32)
    (loop $more
      (memory.fill (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)) (i32.const 1)
        (i32.const 1048576))
      (br $more))
    (unreachable))
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (unreachable))
