  (core module $start
    (import "" "initialize" (func $initialize))
    (start $initialize)
  )
  (alias core export $main "_initialize" (core func $initialize))
  (core instance $starting (export "initialize" (func $initialize)))
  (core instance (instantiate $start (with "" (instance $starting))))
