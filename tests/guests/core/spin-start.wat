  ;; Computes endlessly during instantiation.
  (func $start (loop (br 0)))
