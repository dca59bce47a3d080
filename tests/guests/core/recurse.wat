  ;; Recurses endlessly without using its linear memory.
  (func $generate (call $generate))
