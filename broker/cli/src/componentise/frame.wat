;; A component around one core module: what is the same for all hooks.
(component
  (type $host-type (instance
    (type $levels (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $levels)))
    (export "log" (func (param "level" $level) (param "message" string)))
  ))
  (import "weir:plugin/host@{{version}}" (instance $host (type $host-type)))
  (type $types-type (instance
    (type $hooks (enum "transform" "route" "key" "filter" "project" "retry-policy"))
    (export "hook" (type (eq $hooks)))
    (type $wanted (record
      (field "key" bool) (field "value" bool) (field "timestamp" bool)
      (field "headers" (list string))))
    (export "projection" (type (eq $wanted)))
    (type $text string)
    (export "error" (type (eq $text)))
    (type $columns (record
      (field "count" u32) (field "arena" (list u8)) (field "spans" (list u32))
      (field "timestamps" (option (list s64)))))
    (export "batch" (type (eq $columns)))
  ))
  (import "weir:plugin/types@{{version}}" (instance $types (type $types-type)))
  (alias export $types "hook" (type $hook))
  (alias export $types "projection" (type $projection))
  (alias export $types "error" (type $error))
  (alias export $types "batch" (type $batch))

  ;; The first core module: the author's takes its place.
  (core module $main)
  {{instance}}
  (alias core export $main "memory" (core memory $memory))
  (alias core export $main "cabi_realloc" (core func $realloc))
  {{log}}
  {{start}}
  {{hooks}}
)
