  (type $key-spans (record (field "arena" (list u8)) (field "spans" (list u32))))
  (type $keys-type (func (param "batch" $batch) (result (result $key-spans (error $error)))))
  {{lift}}
  (component $ordering-key
    {{batch}}
    (type $spans (record (field "arena" (list u8)) (field "spans" (list u32))))
    (import "key-spans-type" (type $key-spans (eq $spans)))
    (import "keys-func" (func $keys
      (param "batch" $batch) (result (result $key-spans (error $error)))))
    (export $batch-out "batch" (type $batch))
    (export $error-out "error" (type $error))
    (export $key-spans-out "key-spans" (type $spans))
    (export "keys" (func $keys) (func
      (param "batch" $batch-out) (result (result $key-spans-out (error $error-out)))))
  )
  (instance $ordering-key (instantiate $ordering-key
    (with "batch-type" (type $batch))
    (with "error-type" (type $error))
    (with "key-spans-type" (type $key-spans))
    (with "keys-func" (func $keys))))
  (export "weir:plugin/ordering-key@{{version}}" (instance $ordering-key))
