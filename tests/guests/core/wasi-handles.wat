  ;; Creates WASI handles endlessly.
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
  (func $generate (loop (drop (call $subscribe (i64.const 1))) (br 0)))
