package literal

import "math/bits"

// codeLengths has the number of bits of every octet's code in RFC 7541, Appendix B. The code is canonical, codes of one length ascend with
// the octet and shorter ones come first, so that the lengths are all there is to know. EOS has 30 bits and comes last.
var codeLengths = [256]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
}

const (
	quickBits = 9  // codes up to this length are found with one look
	maxBits   = 30 // of a code
)

// symbol is an octet and the length of its code; length 0 stands for a longer code.
type symbol struct{ octet, length uint8 }

// row has the codes of one length: from first on, as far as end, both aligned to maxBits; octets of them begin at from in inOrder.
type row struct {
	first, end uint32
	from       uint16
}

var (
	codes   [256]uint32
	quick   [1 << quickBits]symbol
	rows    [maxBits + 1]row
	inOrder [256]uint8 // octets by length of their codes, then by value
)

func init() {
	var code uint32 // the next, aligned to maxBits
	var n uint16
	for length := uint8(1); length <= maxBits; length++ {
		rows[length] = row{first: code, from: n}
		for octet := range 256 {
			if codeLengths[octet] != length {
				continue
			}
			codes[octet] = code >> (maxBits - length)
			inOrder[n] = uint8(octet)
			n++
			step := uint32(1) << (maxBits - length)
			if length <= quickBits {
				for i := code >> (maxBits - quickBits); i < (code+step)>>(maxBits-quickBits); i++ {
					quick[i] = symbol{uint8(octet), length}
				}
			}
			code += step
		}
		rows[length].end = code
	}
}

// EncodedLen is the number of octets that s has in Huffman code.
func EncodedLen[T string | []byte](s T) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n += int(codeLengths[s[i]])
	}
	return (n + 7) / 8
}

// AppendEncoded appends s in Huffman code, padded as RFC 7541 §5.2 has it.
func AppendEncoded[T string | []byte](dst []byte, s T) []byte {
	var acc uint64
	var n uint8 // bits in acc, less than 32 between octets
	for i := 0; i < len(s); i++ {
		length := codeLengths[s[i]]
		acc = acc<<length | uint64(codes[s[i]])
		for n += length; n >= 8; {
			n -= 8
			dst = append(dst, byte(acc>>n))
		}
	}
	if n > 0 {
		dst = append(dst, byte(acc<<(8-n))|0xff>>n)
	}
	return dst
}

// AppendDecoded appends the octets that the Huffman code p stands for. EOS within it, or padding that is not less than eight bits of
// EOS, is ErrHuffman (RFC 7541 §5.2); dst is then as it was.
func AppendDecoded(dst, p []byte) ([]byte, error) {
	out := dst
	var acc uint64 // the bits to come, at the top; zeros below them
	var n uint8    // how many
	for {
		for n <= 56 && len(p) > 0 {
			acc |= uint64(p[0]) << (56 - n)
			n += 8
			p = p[1:]
		}
		if s := quick[acc>>(64-quickBits)]; s.length != 0 && s.length <= n {
			out = append(out, s.octet)
			acc <<= s.length
			n -= s.length
			continue
		}
		octet, length := long(uint32(acc >> (64 - maxBits)))
		if length == 0 || length > n {
			// No whole code is left: it must be padding. With less than eight bits that is so only if all are ones.
			if n >= 8 || bits.LeadingZeros64(^acc) < int(n) {
				return dst, ErrHuffman
			}
			return out, nil
		}
		out = append(out, octet)
		acc <<= length
		n -= length
	}
}

// long finds the code that begins with the maxBits bits of v; length 0 stands for EOS.
func long(v uint32) (octet, length uint8) {
	for length := uint8(5); length <= maxBits; length++ {
		if r := &rows[length]; v < r.end {
			return inOrder[r.from+uint16((v-r.first)>>(maxBits-length))], length
		}
	}
	return 0, 0
}
