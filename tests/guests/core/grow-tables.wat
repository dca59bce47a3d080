  ;; Takes elements in four tables by turns; each ends at 5000.
  (table $first 1 5000 funcref)
  (table $second 1 5000 funcref)
  (table $third 1 5000 externref)
  (table $fourth 1 5000 externref)
  (func $generate
    (loop
      (drop (table.grow $first (ref.null func) (i32.const 100)))
      (drop (table.grow $second (ref.null func) (i32.const 100)))
      (drop (table.grow $third (ref.null extern) (i32.const 100)))
      (drop (table.grow $fourth (ref.null extern) (i32.const 100)))
      (br 0)))
