  ;; Reads beyond the end of its memory.
  (func $generate (drop (i32.load $own (i32.const 0x7fff0000))))
