  ;; Takes memory in four memories by turns, for ever.
  (memory $second 1)
  (memory $third 1)
  (memory $fourth 1)
  (func $generate
    (loop
      (drop (memory.grow $own (i32.const 16)))
      (drop (memory.grow $second (i32.const 16)))
      (drop (memory.grow $third (i32.const 16)))
      (drop (memory.grow $fourth (i32.const 16)))
      (br 0)))
