  (type $route-type (func (param "batch" $batch) (result (result (list u64) (error $error)))))
  {{lift}}
  (component $router
    {{batch}}
    (import "route-func" (func $route
      (param "batch" $batch) (result (result (list u64) (error $error)))))
    (export $batch-out "batch" (type $batch))
    (export $error-out "error" (type $error))
    (export "route" (func $route) (func
      (param "batch" $batch-out) (result (result (list u64) (error $error-out)))))
  )
  (instance $router (instantiate $router
    (with "batch-type" (type $batch))
    (with "error-type" (type $error))
    (with "route-func" (func $route))))
  (export "weir:plugin/router@{{version}}" (instance $router))
