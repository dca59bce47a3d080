  ;; Reads the clock endlessly.
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (func $generate (loop (drop (call $now)) (br 0)))
