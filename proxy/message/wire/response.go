package wire

import "nearcast/proxy/message"

// Framing says how a body ends (RFC 9112 §6.3).
type Framing uint8

const (
	NoBody     Framing = iota // there is none
	ByLength                  // after a number of bytes
	Chunked                   // with the last chunk
	UntilClose                // with the connection
)

// Response is a response's header section.
type Response struct {
	Status    int
	Minor     uint8 // of the version: 0, or 1 for HTTP/1.1 and what is to be processed as that
	Framing   Framing
	KeepAlive bool // the connection can go on after the body
	// ContentLength is the declared length, -1 for none. With NoBody it is what a GET would have had.
	ContentLength int64
	// Upgrade is the protocol of a 101, in lower case; "" when the response does not really change to one.
	Upgrade string
	// Fields are the end-to-end fields, without Content-Length.
	Fields message.Fields

	section section
}

// Parse takes a complete header section, as [Scanner.Response] found it, of the answer to a request with that method. The strings are
// parts of b, in which field names are made lower case. p.Fields is reused.
func (p *Response) Parse(b []byte, method string, lim *Limits) error {
	p.Upgrade, p.Framing, p.KeepAlive = "", NoBody, false
	p.Fields = p.Fields[:0]
	i, f := p.line(b)
	if f == 0 {
		if p.Fields, f = p.section.parse(b, i, p.Fields, lim.fields()); f == 0 {
			f = p.body(method)
		}
	}
	return f.of(true)
}

// line takes the status line (RFC 9112 §4). The space before an absent reason may be missing, as many servers have it. Codes from 600 on have
// no class, and are taken as errors of the server (RFC 9110 §15).
func (p *Response) line(b []byte) (next int, f fault) {
	minor, f := version(b)
	if f != 0 {
		return 0, f
	}
	const code = len("HTTP/1.1 ")
	if len(b) < code+7 || b[code-1] != ' ' || b[code] < '1' || b[code] > '9' || !digit(b[code+1]) || !digit(b[code+2]) {
		return 0, faultStatusLine
	}
	p.Minor = minor
	p.Status = int(b[code]-'0')*100 + int(b[code+1]-'0')*10 + int(b[code+2]-'0')
	i := code + 3
	if b[i] == ' ' {
		i = endOfValue(b, i)
	}
	if b[i] != '\r' || b[i+1] != '\n' {
		return 0, faultStatusLine
	}
	return i + 2, 0
}

// body decides on the body and on what becomes of the connection (RFC 9112 §6.3, §9.3).
func (p *Response) body(method string) fault {
	s := &p.section
	length, chunked, f := s.framing(p.Minor)
	untilClose := f == faultCoding && unregistered(s.coding)
	if untilClose {
		length, f = -1, 0
	}
	if f != 0 {
		return f
	}
	p.ContentLength = length
	p.KeepAlive = s.persistent(p.Minor) && !untilClose
	switch {
	case p.Status < 200:
		if chunked || untilClose || length > 0 { // RFC 9110 §8.6, RFC 9112 §6.1
			return faultNoBody
		}
		if p.Status == 101 && s.switches && s.upgrades == 1 && p.Minor > 0 {
			for i, c := range s.upgrade {
				if 'A' <= c && c <= 'Z' {
					s.upgrade[i] = c + 'a' - 'A'
				}
			}
			p.Upgrade = text(s.upgrade)
		}
	case p.Status == 204:
		// What it declares can't be: it may be followed by what it should not.
		p.KeepAlive = p.KeepAlive && !chunked && length <= 0
		p.ContentLength = -1
	case p.Status == 304 || method == "HEAD":
	case chunked:
		p.Framing = Chunked
	case length > 0:
		p.Framing = ByLength
	case length < 0:
		p.Framing, p.KeepAlive = UntilClose, false
	}
	return 0
}

// unregistered reports whether the coding is one token that no registry has ever explained but as nothing at all. Such a response is framed
// by the end of its connection (RFC 9112 §6.3), which is what servers do whose application has set the field by itself; the field goes no
// further, so that the next hop gets one framing, this proxy's. The codings that are real, or were, are refused: their bytes
// would be passed on as what they are not. Of a list nothing is believed: "chunked, x" and "x, chunked" are each read in two ways.
func unregistered(coding []byte) bool {
	if len(coding) == 0 {
		return false
	}
	for _, c := range coding {
		if lower[c] == 0 {
			return false
		}
	}
	for _, known := range [...]string{"chunked", "gzip", "x-gzip", "compress", "x-compress", "deflate", "x-deflate", "br", "zstd", "trailers"} {
		if equalFold(coding, known) {
			return false
		}
	}
	return true
}
