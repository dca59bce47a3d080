  ;; Computes endlessly in `describe`.
  (func $describe (loop (br 0)))
