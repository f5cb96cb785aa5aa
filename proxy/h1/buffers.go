package h1

import "sync"

// Sizes of pooled buffers.
const (
	buf1K  = 1 << 10
	buf4K  = 4 << 10
	buf16K = 16 << 10
	buf64K = 64 << 10
)

var (
	pool1K  = sync.Pool{New: func() any { return new([buf1K]byte) }}
	pool4K  = sync.Pool{New: func() any { return new([buf4K]byte) }}
	pool16K = sync.Pool{New: func() any { return new([buf16K]byte) }}
	pool64K = sync.Pool{New: func() any { return new([buf64K]byte) }}
)

// getSmall returns a buffer of buf1K bytes.
func getSmall() []byte { return pool1K.Get().(*[buf1K]byte)[:] }

// getBuffer returns a buffer of at least n bytes, its length its capacity.
func getBuffer(n int) []byte {
	switch {
	case n <= buf4K:
		return pool4K.Get().(*[buf4K]byte)[:]
	case n <= buf16K:
		return pool16K.Get().(*[buf16K]byte)[:]
	case n <= buf64K:
		return pool64K.Get().(*[buf64K]byte)[:]
	}
	return make([]byte, n)
}

// putBuffer gives back what getBuffer or getSmall returned, in any length but from its start.
func putBuffer(b []byte) {
	switch b = b[:cap(b)]; len(b) {
	case buf1K:
		pool1K.Put((*[buf1K]byte)(b))
	case buf4K:
		pool4K.Put((*[buf4K]byte)(b))
	case buf16K:
		pool16K.Put((*[buf16K]byte)(b))
	case buf64K:
		pool64K.Put((*[buf64K]byte)(b))
	}
}
