  (type $configure-type (func
    (param "hook" $hook) (param "config" (list (tuple string string)))
    (param "routes" (list string)) (result (result $projection (error $error)))))
  {{lift}}
  (component $lifecycle
    (type $hooks (enum "transform" "route" "key" "filter" "project" "retry-policy"))
    (import "hook-type" (type $hook (eq $hooks)))
    (type $columns (record
      (field "key" bool) (field "value" bool) (field "timestamp" bool)
      (field "headers" (list string))))
    (import "projection-type" (type $projection (eq $columns)))
    (type $text string)
    (import "error-type" (type $error (eq $text)))
    (import "configure-func" (func $configure
      (param "hook" $hook) (param "config" (list (tuple string string)))
      (param "routes" (list string)) (result (result $projection (error $error)))))
    (export $hook-out "hook" (type $hook))
    (export $projection-out "projection" (type $projection))
    (export $error-out "error" (type $error))
    (export "configure" (func $configure) (func
      (param "hook" $hook-out) (param "config" (list (tuple string string)))
      (param "routes" (list string)) (result (result $projection-out (error $error-out)))))
  )
  (instance $lifecycle (instantiate $lifecycle
    (with "hook-type" (type $hook))
    (with "projection-type" (type $projection))
    (with "error-type" (type $error))
    (with "configure-func" (func $configure))))
  (export "weir:plugin/lifecycle@{{version}}" (instance $lifecycle))
