  (type $filter-type (func (param "batch" $batch) (result (result (list u8) (error $error)))))
  {{lift}}
  (component $filter
    {{batch}}
    (import "filter-func" (func $filter
      (param "batch" $batch) (result (result (list u8) (error $error)))))
    (export $batch-out "batch" (type $batch))
    (export $error-out "error" (type $error))
    (export "filter" (func $filter) (func
      (param "batch" $batch-out) (result (result (list u8) (error $error-out)))))
  )
  (instance $filter (instantiate $filter
    (with "batch-type" (type $batch))
    (with "error-type" (type $error))
    (with "filter-func" (func $filter))))
  (export "weir:plugin/filter@{{version}}" (instance $filter))
