package wire

import "strings"

// hostByte says what a registered name or an IPv4 address may consist of (RFC 3986 §3.2.2); a percent sign must begin an escape.
var hostByte = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x80 && strings.IndexByte("-._~!$&'()*+,;=%", byte(c)) >= 0
	}
	return t
}()

// authority reports whether b is a host with or without a port, and makes it lower case in place. User information, which has no place
// in HTTP (RFC 9110 §4.2.4), is none.
func authority(b []byte) bool {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		i = literal(b)
	} else {
		i = name(b)
	}
	if i <= 0 {
		return false
	}
	if i < len(b) {
		if b[i] != ':' {
			return false
		}
		for i++; i < len(b); i++ {
			if !digit(b[i]) {
				return false
			}
		}
	}
	return true
}

// name returns where a registered name ends.
func name(b []byte) int {
	for i, c := range b {
		switch {
		case c == '%' && (i+2 >= len(b) || hex[b[i+1]] > 15 || hex[b[i+2]] > 15):
			return -1
		case !hostByte[c]:
			return i
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return len(b)
}

// literal returns where an IP literal ends, -1 when it is none. Only its bytes are looked at.
func literal(b []byte) int {
	for i := 1; i < len(b); i++ {
		c := b[i]
		switch {
		case c == ']':
			if i == 1 {
				return -1
			}
			return i + 1
		case hex[c] > 15 && c != ':' && c != '.':
			return -1
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return -1
}
