  ;; Computes endlessly in the destructor of its own resource.
  (import "[export]pinhole:hostile/things" "[resource-new]thing" (func $new (param i32) (result i32)))
  (import "[export]pinhole:hostile/things" "[resource-drop]thing" (func $drop (param i32)))
  (func (export "pinhole:hostile/things#[constructor]thing") (result i32) (call $new (i32.const 1)))
  (func (export "pinhole:hostile/things#[dtor]thing") (param i32) (loop (br 0)))
  (func $describe (call $drop (call $new (i32.const 1))))
