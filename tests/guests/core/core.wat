  ;; Does nothing wrong.
