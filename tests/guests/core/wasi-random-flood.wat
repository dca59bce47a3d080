  ;; Takes a megabyte of random bytes.
  (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
  (func $generate (call $random (i64.const 1048576) (i32.const 4096)))
