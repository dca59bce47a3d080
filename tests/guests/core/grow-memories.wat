  ;; Grows three memories in turn. Each one's maximum is far below a call's limit.
  (memory $second 1 1600)
  (memory $third 1 1600)
  (memory $fourth 1 1600)
  (func $describe
    (loop
      (drop (memory.grow $second (i32.const 16)))
      (drop (memory.grow $third (i32.const 16)))
      (drop (memory.grow $fourth (i32.const 16)))
      (br 0)))
