  (type $failure (record (field "attempt" u32) (field "message" string)))
  (type $decision (variant (case "delay" u64) (case "dead-letter") (case "park-key")))
  (type $decide-type (func
    (param "batch" $batch) (param "failures" (list $failure))
    (result (result (list $decision) (error $error)))))
  {{lift}}
  (component $retry
    {{batch}}
    (type $failed (record (field "attempt" u32) (field "message" string)))
    (import "failure-type" (type $failure (eq $failed)))
    (type $decided (variant (case "delay" u64) (case "dead-letter") (case "park-key")))
    (import "decision-type" (type $decision (eq $decided)))
    (import "decide-func" (func $decide
      (param "batch" $batch) (param "failures" (list $failure))
      (result (result (list $decision) (error $error)))))
    (export $batch-out "batch" (type $batch))
    (export $error-out "error" (type $error))
    (export $failure-out "failure" (type $failed))
    (export $decision-out "decision" (type $decided))
    (export "decide" (func $decide) (func
      (param "batch" $batch-out) (param "failures" (list $failure-out))
      (result (result (list $decision-out) (error $error-out)))))
  )
  (instance $retry (instantiate $retry
    (with "batch-type" (type $batch))
    (with "error-type" (type $error))
    (with "failure-type" (type $failure))
    (with "decision-type" (type $decision))
    (with "decide-func" (func $decide))))
  (export "weir:plugin/retry@{{version}}" (instance $retry))
