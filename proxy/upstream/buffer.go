package upstream

import "sync"

// bufferSize is the size of what an exchange reads into and writes from, and the sending of a body again.
const bufferSize = 16 << 10

type buffer = [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer  { return buffers.Get().(*buffer) }
func putBuffer(b *buffer) { buffers.Put(b) }
