  ;; Asks for the time for ever when it is asked what it is.
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (func $describe (loop (drop (call $now)) (br 0)))
