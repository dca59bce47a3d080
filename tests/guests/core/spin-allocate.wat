  ;; Computes endlessly in `cabi_realloc`, when the host allocates space for a result.
  (import "pinhole:engine/images@0.2.0" "from-bytes" (func $from_bytes (param i32 i32 i32)))
  (func $describe (call $from_bytes (i32.const 2048) (i32.const 4) (i32.const 4096)))
  (func $allocate (loop (br 0)))
