  ;; Computes for ever while it is instantiated.
  (func $start (loop (br 0)))
