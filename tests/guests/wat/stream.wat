;; Creates a component-model stream (WASI 0.3), which the host does not support.
(component
  (type $stream (stream u8))
  (core func (canon stream.new $stream)))
