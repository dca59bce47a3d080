  ;; Computes for ever when it is asked what it is.
  (func $describe (loop (br 0)))
