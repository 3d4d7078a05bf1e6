    (type $columns (record
      (field "count" u32) (field "arena" (list u8)) (field "spans" (list u32))
      (field "timestamps" (option (list s64)))))
    (import "batch-type" (type $batch (eq $columns)))
    (type $text string)
    (import "error-type" (type $error (eq $text)))
