package hpack

import (
	"nearcast/proxy/message"
	"nearcast/proxy/message/literal"
)

const (
	statusIndex        = 8  // of :status in the static table, with 200
	contentLengthIndex = 28 // of content-length
)

// AppendStatus appends :status, which must come first.
func AppendStatus(dst []byte, status int) []byte {
	switch status {
	case 200:
		return append(dst, 0x80|8)
	case 204:
		return append(dst, 0x80|9)
	case 206:
		return append(dst, 0x80|10)
	case 304:
		return append(dst, 0x80|11)
	case 400:
		return append(dst, 0x80|12)
	case 404:
		return append(dst, 0x80|13)
	case 500:
		return append(dst, 0x80|14)
	}
	return append(dst, statusIndex, 3, '0'+byte(status/100%10), '0'+byte(status/10%10), '0'+byte(status%10))
}

// AppendContentLength appends content-length with the value n, which must not be negative.
func AppendContentLength(dst []byte, n int64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = '0' + byte(n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	dst = literal.AppendInt(dst, 0, 4, contentLengthIndex)
	dst = append(dst, byte(len(digits)-i))
	return append(dst, digits[i:]...)
}

// AppendFields appends literals without indexing, names from the static table where it has them and Huffman code where that is shorter.
// The result depends on the fields alone and is valid on any connection (see [message.Block]).
func AppendFields(dst []byte, f message.Fields) []byte {
	for i := range f {
		dst = AppendField(dst, f[i].Name, f[i].Value)
	}
	return dst
}

// AppendField appends one field like [AppendFields].
func AppendField(dst []byte, name, value string) []byte {
	if i := names[name]; i > 0 {
		dst = literal.AppendInt(dst, 0, 4, uint64(i))
	} else {
		dst = literal.AppendLiteral(append(dst, 0), 0, 7, name)
	}
	return literal.AppendLiteral(dst, 0, 7, value)
}

// AppendPlain appends one field without Huffman code: some octets longer and several times faster, for what is different in every response.
func AppendPlain(dst []byte, name, value string) []byte {
	if i := names[name]; i > 0 {
		dst = literal.AppendInt(dst, 0, 4, uint64(i))
	} else {
		dst = literal.AppendInt(append(dst, 0), 0, 7, uint64(len(name)))
		dst = append(dst, name...)
	}
	dst = literal.AppendInt(dst, 0, 7, uint64(len(value)))
	return append(dst, value...)
}
