package wire

import (
	"encoding/binary"
	"unsafe"

	"nearcast/proxy/message"
)

// lower is a byte of a token in lower case, 0 for any other.
var lower = func() (t [256]byte) {
	for c := range 256 {
		if message.IsTokenByte(byte(c)) {
			t[c] = byte(c)
			if 'A' <= c && c <= 'Z' {
				t[c] += 'a' - 'A'
			}
		}
	}
	return t
}()

// text gives b as a string that shares its bytes.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// endOfValue returns where the run of bytes that may be in a field value ends, from i on (RFC 9110 §5.5).
func endOfValue(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			del := x ^ 0x7f*ones
			// A byte's high bit is set when it is below 0x20, or 0x7f; what a borrow adds is above one that is.
			if ((x-0x20*ones)&^x|(del-ones)&^del)&high != 0 {
				break
			}
			i += 8
		}
		for stop := min(i+8, len(b)); i < stop; i++ {
			if !message.IsValueByte(b[i]) {
				return i
			}
		}
		if i == len(b) {
			return i
		}
	}
}

// line parses the field line at b[i:], makes its name lower case in place, and returns where the next begins. b ends with CRLF CRLF, of
// which the first may be the line's own.
func line(b []byte, i int) (name, value []byte, next int, f fault) {
	start := i
	for {
		c := lower[b[i]]
		if c == 0 {
			break
		}
		b[i] = c
		i++
	}
	name = b[start:i]
	if b[i] != ':' || i == start {
		return nil, nil, 0, badName(b[i], i == start)
	}
	i++
	for b[i] == ' ' || b[i] == '\t' {
		i++
	}
	start = i
	i = endOfValue(b, i)
	if b[i] != '\r' {
		return nil, nil, 0, faultControl
	}
	if b[i+1] != '\n' {
		return nil, nil, 0, faultBareCR
	}
	end := i
	for end > start && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	return name, b[start:end], i + 2, 0
}

func badName(c byte, first bool) fault {
	switch {
	case c != ' ' && c != '\t':
		return faultName
	case first:
		return faultFold
	}
	return faultColon
}

// HopByHop reports whether a field, whose name is in lower case, never leaves the connection that it came on (RFC 9110 §7.6.1), or is
// told in another way by a [message.Request] and a [message.ResponseWriter]: host, the body's length, what Expect asks for.
func HopByHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer",
		"host", "content-length", "expect", "http2-settings":
		return true
	}
	return false
}

// maxOptions is how many connection options other than the usual are taken.
const maxOptions = 32

// section is what a message's field section says to this connection.
type section struct {
	host, length, coding, upgrade []byte // the first of each name
	hosts, lengths, codings       int
	upgrades                      int
	expects, unknownExpects       int
	options                       []string // fields that Connection names
	closes, keeps, switches       bool     // its options close, keep-alive, upgrade
}

// parse takes the field section of b, which begins at i and ends with an empty line. What is for the next hop too is appended to out.
func (s *section) parse(b []byte, i int, out message.Fields, most int) (message.Fields, fault) {
	*s = section{options: s.options[:0]}
	for n := 0; b[i] != '\r' || b[i+1] != '\n'; n++ {
		if n == most {
			return out, faultLines
		}
		if b[i] == '\r' {
			return out, faultBareCR
		}
		name, value, next, f := line(b, i)
		if f != 0 {
			return out, f
		}
		i = next
		if HopByHop(text(name)) {
			if f := s.note(text(name), value); f != 0 {
				return out, f
			}
			if text(name) != "te" || !equalFold(value, "trailers") {
				continue // te: trailers is for the origin too, as gRPC needs it
			}
		}
		out = append(out, message.Field{Name: text(name), Value: text(value)})
	}
	if len(s.options) > 0 {
		out.DeleteFunc(s.named)
	}
	return out, 0
}

// note remembers a field that is for this connection.
func (s *section) note(name string, value []byte) fault {
	switch name {
	case "host":
		first(&s.host, &s.hosts, value)
	case "content-length":
		first(&s.length, &s.lengths, value)
	case "transfer-encoding":
		first(&s.coding, &s.codings, value)
	case "upgrade":
		first(&s.upgrade, &s.upgrades, value)
	case "connection":
		return s.connection(value)
	case "expect":
		s.expects++
		if !equalFold(value, "100-continue") {
			s.unknownExpects++
		}
	}
	return 0
}

func first(to *[]byte, n *int, value []byte) {
	if *n == 0 {
		*to = value
	}
	*n++
}

// connection takes a list of connection options (RFC 9110 §7.6.1).
func (s *section) connection(list []byte) fault {
	for i := 0; i < len(list); {
		if c := list[i]; c == ',' || c == ' ' || c == '\t' {
			i++
			continue
		}
		start := i
		for ; i < len(list) && lower[list[i]] != 0; i++ {
			list[i] = lower[list[i]]
		}
		option := text(list[start:i])
		for i < len(list) && (list[i] == ' ' || list[i] == '\t') {
			i++
		}
		if option == "" || i < len(list) && list[i] != ',' {
			return faultOption
		}
		switch option {
		case "close":
			s.closes = true
		case "keep-alive":
			s.keeps = true
		case "upgrade":
			s.switches = true
		case "te", "early-data": // the latter must not be one, and is not to be removed (RFC 8470 §5.1)
		default:
			if len(s.options) == maxOptions {
				return faultOptions
			}
			s.options = append(s.options, option)
		}
	}
	return 0
}

func (s *section) named(f message.Field) bool {
	for _, o := range s.options {
		if o == f.Name {
			return true
		}
	}
	return false
}

// framing decides on the body from Content-Length and Transfer-Encoding (RFC 9112 §6.3). length is -1 when none is given.
func (s *section) framing(minor uint8) (length int64, chunked bool, f fault) {
	switch {
	case s.codings > 0 && s.lengths > 0:
		return 0, false, faultBoth
	case s.codings > 0 && minor == 0:
		return 0, false, faultCoding10
	case s.codings > 1:
		return 0, false, faultTwoCodings
	case s.codings > 0 && !equalFold(s.coding, "chunked"):
		return 0, false, faultCoding
	case s.codings > 0:
		return -1, true, 0
	case s.lengths == 0:
		return -1, false, 0
	case s.lengths > 1:
		return 0, false, faultTwoLengths
	}
	length, ok := decimal(s.length)
	if !ok {
		return 0, false, faultLength
	}
	return length, false, 0
}

// decimal takes 1 to 18 digits, and nothing else.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// persistent reports whether the connection can go on after the message (RFC 9112 §9.3).
func (s *section) persistent(minor uint8) bool { return !s.closes && (minor >= 1 || s.keeps) }

// equalFold compares with a token in lower case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower[b[i]] != s[i] {
			return false
		}
	}
	return true
}
