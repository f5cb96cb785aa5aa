// Package literal reads and writes the primitives of RFC 7541 §5 that HPACK and QPACK (RFC 9204 §4.1) share: prefixed integers
// and string literals, plain or in Huffman code. Everything appends to the caller's buffers; nothing allocates by itself.
package literal

import "errors"

// MaxInt is the largest integer that is read: RFC 9204 §4.1.1 wants 62 bits, and HPACK never needs more.
const MaxInt = 1<<62 - 1

// maxContinuation bounds the octets after the prefix: nine carry 63 bits, so more could only be padding.
const maxContinuation = 9

var (
	// ErrShort says that the input ends in the middle of an integer or a string.
	ErrShort = errors.New("literal: cut short")
	// ErrInteger says that an integer is above the limit, or longer than any integer needs to be.
	ErrInteger = errors.New("literal: integer too large")
	// ErrLength says that a string is longer than the limit.
	ErrLength = errors.New("literal: string too long")
	// ErrHuffman says that a Huffman code holds EOS, or is not padded with less than eight bits of EOS (RFC 7541 §5.2).
	ErrHuffman = errors.New("literal: malformed Huffman code")
)

// Int reads the integer that begins in the low n bits of p[0], 1 to 8, and returns what follows it (RFC 7541 §5.1).
// One above limit is ErrInteger.
func Int(p []byte, n uint8, limit uint64) (v uint64, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, ErrShort
	}
	mask := uint64(1)<<n - 1
	v = uint64(p[0]) & mask
	if v < mask {
		if v > limit {
			return 0, nil, ErrInteger
		}
		return v, p[1:], nil
	}
	for i, shift := 1, 0; ; i, shift = i+1, shift+7 {
		switch {
		case i > maxContinuation:
			return 0, nil, ErrInteger
		case i >= len(p):
			return 0, nil, ErrShort
		}
		v += uint64(p[i]&0x7f) << shift // at most 2^63-1 + 255: no overflow
		if v > limit || v > MaxInt {
			return 0, nil, ErrInteger
		}
		if p[i] < 0x80 {
			return v, p[i+1:], nil
		}
	}
}

// AppendInt appends v with a prefix of n bits, 1 to 8. first holds the bits above the prefix.
func AppendInt(dst []byte, first byte, n uint8, v uint64) []byte {
	mask := uint64(1)<<n - 1
	if v < mask {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(mask))
	for v -= mask; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// AppendString reads the string literal at the start of p, appends the octets it stands for to dst, and returns dst and what follows the
// literal. The length has a prefix of n bits, 1 to 7, and the bit above is H (RFC 7541 §5.2; HPACK has n = 7, QPACK 3, 5 or 7).
// When there are more octets than limit the error is ErrLength. After an error dst is as it was.
func AppendString(dst, p []byte, n uint8, limit int) (out, rest []byte, err error) {
	if len(p) == 0 {
		return dst, nil, ErrShort
	}
	huffman := p[0]&(1<<n) != 0
	size, p, err := Int(p, n, MaxInt)
	switch {
	case err != nil:
		return dst, nil, err
	case huffman && size > 4*uint64(limit)+4 || !huffman && size > uint64(limit): // a code has 30 bits at most
		return dst, nil, ErrLength
	case size > uint64(len(p)):
		return dst, nil, ErrShort
	}
	raw, rest := p[:size], p[size:]
	if !huffman {
		return append(dst, raw...), rest, nil
	}
	out, err = AppendDecoded(dst, raw)
	switch {
	case err != nil:
		return dst, nil, err
	case len(out)-len(dst) > limit:
		return dst, nil, ErrLength
	}
	return out, rest, nil
}

// AppendLiteral appends s as a string literal, in Huffman code where that is shorter. The length has a prefix of n bits, 1 to 7, and the
// bit above is H; first holds the bits above that.
func AppendLiteral[T string | []byte](dst []byte, first byte, n uint8, s T) []byte {
	if coded := EncodedLen(s); coded < len(s) {
		return AppendEncoded(AppendInt(dst, first|1<<n, n, uint64(coded)), s)
	}
	return append(AppendInt(dst, first, n, uint64(len(s))), s...)
}
