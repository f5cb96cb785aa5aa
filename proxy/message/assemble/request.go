// Package assemble makes requests of the decoded field lines of HTTP/2 and HTTP/3, and refuses what RFC 9113 §8 and RFC 9114 §4 call
// malformed. It allocates nothing in the usual case: strings of the result are the ones it was given, or parts of a scratch buffer.
package assemble

import (
	"strings"

	"nearcast/proxy/message"
)

// What an Assembler keeps between requests, so that one huge request does not hold its memory for as long as the connection lives.
const (
	keepFields  = 64
	keepScratch = 4 << 10
)

// Assembler makes one request after another. The zero value is ready. The requests' strings are those given to Field, or alias the
// Assembler's own memory: both must stay as they are until the exchange is over.
type Assembler struct {
	scheme  string
	max     int
	size    int
	err     *Error
	regular bool // a field has been seen that is no pseudo-header field
	seen    pseudo
	expect  bool

	method, path, authority, protocol, gotScheme string
	host                                         string
	length                                       int64
	fields                                       message.Fields
	crumbs                                       int // cookie lines
	scratch                                      []byte
}

// pseudo is a set of lines that may come once.
type pseudo uint8

const (
	seenMethod pseudo = 1 << iota
	seenScheme
	seenAuthority
	seenPath
	seenProtocol
	seenHost
	seenLength
)

// Begin starts a request on a connection of that scheme. max bounds the field section's size as RFC 9114 §4.2.2 counts it (RFC 9113 §6.5.2
// counts alike), pseudo-header fields included; 0 is no bound. The request assembled before is no longer valid.
func (a *Assembler) Begin(scheme string, max int) {
	fields, scratch := a.fields, a.scratch
	clear(fields)
	if cap(fields) > keepFields {
		fields = nil
	}
	if cap(scratch) > keepScratch {
		scratch = nil
	}
	*a = Assembler{scheme: scheme, max: max, length: -1, fields: fields[:0], scratch: scratch[:0]}
}

// Field takes the next line. After an error it only returns that error again, and so does Finish: a decoder that must go on, to keep its
// dynamic table, may ignore it. The error is an *Error.
func (a *Assembler) Field(name, value string) error {
	if a.err == nil {
		a.err = a.field(name, value)
	}
	if a.err != nil {
		return a.err
	}
	return nil
}

// TooLarge makes the request one that is answered with 431: its encoded form is beyond a bound of the front end's.
func (a *Assembler) TooLarge() error {
	if a.err == nil {
		a.err = errTooLarge
	}
	return a.err
}

func (a *Assembler) field(name, value string) *Error {
	a.size += len(name) + len(value) + 32
	if a.max > 0 && a.size > a.max {
		return errTooLarge
	}
	if name == "" {
		return errName
	}
	if name[0] == ':' {
		return a.pseudo(name, value)
	}
	a.regular = true
	if !message.IsLowerToken(name) {
		return errName
	}
	if !message.IsFieldValue(value) {
		return errValue
	}
	return a.line(name, value)
}

func (a *Assembler) pseudo(name, value string) *Error {
	if a.regular {
		return errPseudoLate
	}
	if !message.IsFieldValue(value) {
		return errValue
	}
	var to *string
	var bit pseudo
	switch name {
	case ":method":
		to, bit = &a.method, seenMethod
	case ":scheme":
		to, bit = &a.gotScheme, seenScheme
	case ":authority":
		to, bit = &a.authority, seenAuthority
	case ":path":
		to, bit = &a.path, seenPath
	case ":protocol":
		to, bit = &a.protocol, seenProtocol
	default:
		return errPseudo
	}
	if a.seen&bit != 0 {
		return errPseudoTwice
	}
	a.seen |= bit
	*to = value
	return nil
}

// line takes a field that is well formed.
func (a *Assembler) line(name, value string) *Error {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": // RFC 9113 §8.2.2, RFC 9114 §4.2
		return errConnection
	case "te":
		if value != "trailers" {
			return errConnection
		}
	case "host":
		if a.seen&seenHost != 0 {
			return errHostTwice
		}
		a.seen |= seenHost
		a.host = value
		return nil
	case "content-length":
		return a.contentLength(value)
	case "expect":
		a.expect = a.expect || strings.EqualFold(value, "100-continue")
		return nil
	case "trailer", "http2-settings":
		return nil
	case "cookie":
		a.crumbs++
	}
	a.fields = append(a.fields, message.Field{Name: name, Value: value})
	return nil
}

// contentLength refuses a second line even when it says the same, and a list: nobody sends either in good faith.
func (a *Assembler) contentLength(value string) *Error {
	if a.seen&seenLength != 0 {
		return errLengthTwice
	}
	a.seen |= seenLength
	if value == "" {
		return errLength
	}
	n, over := int64(0), false
	for i := 0; i < len(value); i++ {
		c := value[i] - '0'
		if c > 9 {
			return errLength
		}
		over = over || n > (1<<63-1-int64(c))/10
		n = n*10 + int64(c)
	}
	if over {
		return errTooLong
	}
	a.length = n
	return nil
}

// ExpectsContinue reports whether the request asked for a 100 (Continue) before its content (RFC 9110 §10.1.1).
func (a *Assembler) ExpectsContinue() bool { return a.expect }

// Known is what is known so far of the request, for [message.Refusal]; "" where nothing is.
func (a *Assembler) Known() (method, authority, target string) {
	authority = a.authority
	if authority == "" {
		authority = a.host
	}
	return a.method, authority, a.path
}
