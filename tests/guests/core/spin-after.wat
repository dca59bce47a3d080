  ;; Computes endlessly in `cabi_post`, after the host has read the result.
  (func $after (loop (br 0)))
