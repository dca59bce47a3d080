  ;; Requests random bytes endlessly.
  (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
  (func $generate (loop (call $random (i64.const 16) (i32.const 4096)) (br 0)))
