  ;; A correct engine: every call returns immediately.
