  ;; Calls itself without end, and keeps nothing in its memory.
  (func $generate (call $generate))
