  (type $header-change (record
    (field "output" u32) (field "name" string) (field "value" (option (list u8)))))
  (type $mapped (record
    (field "source" (list u32)) (field "data" (list u8)) (field "spans" (list u32))
    (field "headers" (list $header-change)) (field "rejected" (list (tuple u32 string)))))
  (type $apply-type (func (param "batch" $batch) (result (result $mapped (error $error)))))
  {{lift}}
  (component $mapper
    {{batch}}
    (type $change (record
      (field "output" u32) (field "name" string) (field "value" (option (list u8)))))
    (import "header-change-type" (type $header-change (eq $change)))
    (type $outputs (record
      (field "source" (list u32)) (field "data" (list u8)) (field "spans" (list u32))
      (field "headers" (list $header-change)) (field "rejected" (list (tuple u32 string)))))
    (import "mapped-type" (type $mapped (eq $outputs)))
    (import "apply-func" (func $apply
      (param "batch" $batch) (result (result $mapped (error $error)))))
    (export $batch-out "batch" (type $batch))
    (export $error-out "error" (type $error))
    (export $header-change-out "header-change" (type $change))
    (type $outputs-out (record
      (field "source" (list u32)) (field "data" (list u8)) (field "spans" (list u32))
      (field "headers" (list $header-change-out)) (field "rejected" (list (tuple u32 string)))))
    (export $mapped-out "mapped" (type $outputs-out))
    (export "apply" (func $apply) (func
      (param "batch" $batch-out) (result (result $mapped-out (error $error-out)))))
  )
  (instance $mapper (instantiate $mapper
    (with "batch-type" (type $batch))
    (with "error-type" (type $error))
    (with "header-change-type" (type $header-change))
    (with "mapped-type" (type $mapped))
    (with "apply-func" (func $apply))))
  (export "weir:plugin/mapper@{{version}}" (instance $mapper))
