  ;; Requests 128 KiB of random bytes at once.
  (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
  (func $describe (call $random (i64.const 131072) (i32.const 4096)))
