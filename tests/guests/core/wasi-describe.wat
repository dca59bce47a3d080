  ;; Reads the clock endlessly in `describe`.
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (func $describe (loop (drop (call $now)) (br 0)))
