;; world: filter-plugin
;; Loops for ever when a record's value is the four bytes "evil", as traps-on-poison traps.
  (func (export "weir:plugin/filter@1.0.0#filter") (param $count i32)
      (param $arena i32) (param $arena_len i32) (param $spans i32) (param $spans_len i32)
      (param i32 i32 i32) (result i32)
    (local $i i32)
    (local $span i32)
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $i) (local.get $count)))
        (local.set $span (i32.add (local.get $spans) (i32.shl (local.get $i) (i32.const 3))))
        (if (i32.eq (i32.load offset=4 (local.get $span)) (i32.const 4))
          (then
            (if (i32.eq (i32.load (i32.add (local.get $arena) (i32.load (local.get $span))))
                  (i32.const 0x6c697665))
              (then (loop $for_ever (br $for_ever))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $keep_all (local.get $count)))
