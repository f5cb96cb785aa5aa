package message

// What each byte may be part of.
const (
	tokenByte      = 1 << iota // a token (RFC 9110 §5.6.2)
	lowerTokenByte             // a token without capital letters, as HTTP/2 and HTTP/3 want field names
	valueByte                  // a field value: anything but controls other than HTAB (RFC 9110 §5.5)
)

var bytesAre = func() (t [256]uint8) {
	for c := range 256 {
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		capital := 'A' <= c && c <= 'Z'
		switch c {
		case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
			letter = true
		}
		if letter {
			t[c] |= tokenByte | lowerTokenByte
		}
		if capital {
			t[c] |= tokenByte
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= valueByte
		}
	}
	return t
}()

func all[T string | []byte](s T, kind uint8) bool {
	for i := 0; i < len(s); i++ {
		if bytesAre[s[i]]&kind == 0 {
			return false
		}
	}
	return true
}

// IsToken reports whether s is a token (RFC 9110 §5.6.2), as methods, field names and directive names are.
func IsToken[T string | []byte](s T) bool { return len(s) > 0 && all(s, tokenByte) }

// IsLowerToken reports whether s is a token without capital letters: a field name as [Field] has it.
func IsLowerToken[T string | []byte](s T) bool { return len(s) > 0 && all(s, lowerTokenByte) }

// IsTokenByte reports whether c may be part of a token.
func IsTokenByte(c byte) bool { return bytesAre[c]&tokenByte != 0 }

// IsValueByte reports whether c may be part of a field value.
func IsValueByte(c byte) bool { return bytesAre[c]&valueByte != 0 }

// IsFieldValue reports whether s may be a field value (RFC 9110 §5.5): without controls but HTAB, and without white space around it.
func IsFieldValue[T string | []byte](s T) bool {
	if n := len(s); n > 0 && (s[0] == ' ' || s[0] == '\t' || s[n-1] == ' ' || s[n-1] == '\t') {
		return false
	}
	return all(s, valueByte)
}
