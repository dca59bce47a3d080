;; Makes a stream of a later WASI.
(component
  (type $stream (stream u8))
  (core func (canon stream.new $stream)))
