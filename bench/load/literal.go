package load

// The primitives that HPACK and QPACK share (RFC 7541 §5), for writing: prefixed integers, and strings without Huffman coding.

// appendInt appends n with a prefix of the given number of bits; flags are the bits before it.
func appendInt(b []byte, flags byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// appendString appends s with its length in a prefix of 7 bits.
func appendString(b []byte, s string) []byte {
	return append(appendInt(b, 0, 7, len(s)), s...)
}

// readInt reads an integer with a prefix of the given number of bits; false when b is too short for it or it is too large to be true.
func readInt(b []byte, bits uint) (n, used int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	most := 1<<bits - 1
	if n = int(b[0]) & most; n < most {
		return n, 1, true
	}
	for i, shift := 1, 0; i < len(b) && shift <= 21; i, shift = i+1, shift+7 {
		n += int(b[i]&0x7f) << shift
		if b[i] < 0x80 {
			return n, i + 1, true
		}
	}
	return 0, 0, false
}

// skipString is the length of a string with its length; false when b ends before it.
func skipString(b []byte) (used int, ok bool) {
	n, used, ok := readInt(b, 7)
	if !ok || n > len(b)-used {
		return 0, false
	}
	return used + n, true
}
