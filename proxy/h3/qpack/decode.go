// Package qpack reads and writes field sections of HTTP/3 (RFC 9204) without a dynamic table: we announce a capacity of 0, and use none
// of the client's.
package qpack

import (
	"errors"
	"unsafe"

	"nearcast/proxy/message/literal"
)

// ErrDecompression is QPACK_DECOMPRESSION_FAILED (RFC 9204 §6), a connection error: the section is malformed, or refers to a dynamic table.
var ErrDecompression = errors.New("qpack: decompression failed")

// Sink takes the lines of a field section. A value of a pointer type makes no allocation.
type Sink interface {
	// Field takes one line; an error ends the decoding. The strings are valid as long as section and arena are not written to.
	Field(name, value string) error
}

// Decode gives every line of section (RFC 9204 §4.5) to sink. Strings in Huffman code are decoded to the end of arena, which is
// returned; the others are parts of section. A Huffman code of 5 bits being the shortest, arena grows by 8/5 of the section's length at
// most. The error is ErrDecompression, or the sink's.
func Decode(arena, section []byte, sink Sink) ([]byte, error) {
	inserts, p, err := literal.Int(section, 8, literal.MaxInt)
	if err != nil || inserts != 0 {
		return arena, ErrDecompression
	}
	// Without inserts any Base will do, but a negative one, which the sign bit would make (RFC 9204 §4.5.1.2).
	if len(p) == 0 || p[0]&0x80 != 0 {
		return arena, ErrDecompression
	}
	if _, p, err = literal.Int(p, 7, literal.MaxInt); err != nil {
		return arena, ErrDecompression
	}
	for len(p) > 0 {
		var name, value string
		switch c := p[0]; {
		case c&0xc0 == 0xc0: // indexed, static
			var i uint64
			if i, p, err = literal.Int(p, 6, uint64(len(static)-1)); err != nil {
				return arena, ErrDecompression
			}
			name, value = static[i].name, static[i].value
		case c&0xd0 == 0x50: // literal with a static name
			var i uint64
			if i, p, err = literal.Int(p, 4, uint64(len(static)-1)); err != nil {
				return arena, ErrDecompression
			}
			name = static[i].name
			if value, arena, p, err = text(arena, p, 7); err != nil {
				return arena, ErrDecompression
			}
		case c&0xe0 == 0x20: // literal with a literal name
			if name, arena, p, err = text(arena, p, 3); err != nil {
				return arena, ErrDecompression
			}
			if value, arena, p, err = text(arena, p, 7); err != nil {
				return arena, ErrDecompression
			}
		default: // refers to the dynamic table
			return arena, ErrDecompression
		}
		if err := sink.Field(name, value); err != nil {
			return arena, err
		}
	}
	return arena, nil
}

// text reads a string literal with a length of n bits.
func text(arena, p []byte, n uint8) (s string, grown, rest []byte, err error) {
	if len(p) == 0 {
		return "", arena, nil, ErrDecompression
	}
	huffman := p[0]&(1<<n) != 0
	size, p, err := literal.Int(p, n, literal.MaxInt)
	if err != nil || size > uint64(len(p)) {
		return "", arena, nil, ErrDecompression
	}
	raw, rest := p[:size], p[size:]
	if !huffman {
		return borrow(raw), arena, rest, nil
	}
	from := len(arena)
	if arena, err = literal.AppendDecoded(arena, raw); err != nil {
		return "", arena, nil, ErrDecompression
	}
	return borrow(arena[from:]), arena, rest, nil
}

func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
