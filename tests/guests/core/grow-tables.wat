  ;; Grows four tables in turn. Each one's maximum is 5000.
  (table $first 1 5000 funcref)
  (table $second 1 5000 funcref)
  (table $third 1 5000 funcref)
  (table $fourth 1 5000 funcref)
  (func $generate
    (loop
      (drop (table.grow $first (ref.null func) (i32.const 100)))
      (drop (table.grow $second (ref.null func) (i32.const 100)))
      (drop (table.grow $third (ref.null func) (i32.const 100)))
      (drop (table.grow $fourth (ref.null func) (i32.const 100)))
      (br 0)))
