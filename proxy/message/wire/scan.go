// Package wire is HTTP/1.1 as octets (RFC 9112), in both directions: a strict parser of header sections and bodies that allocates nothing,
// and what appends them. It is stricter than the RFC wherever two readers could take the same bytes for different messages: no bare LF or
// CR, no folded lines, no second Content-Length even of the same value, no Content-Length beside Transfer-Encoding.
//
// Errors are *[message.Error]: of a request with the status to answer, of a response with 502. After any of them the connection can't go on.
package wire

import (
	"bytes"
)

// Limits bounds what is taken. A field that is 0 stands for the default.
type Limits struct {
	Line    int // bytes of a request line, beyond it 414; default [message.MaxTarget] and a little
	Head    int // bytes of start line and field section, beyond it 431; default 64 KiB
	Fields  int // lines of a field section, beyond it 431; default 256
	Trailer int // bytes of a trailer section; default 8 KiB
}

const (
	defaultLine    = 16<<10 + 64
	defaultHead    = 64 << 10
	defaultFields  = 256
	defaultTrailer = 8 << 10
	maxEmptyLines  = 4 // before a request line (RFC 9112 §2.2)
)

func (l *Limits) line() int    { return or(l.Line, defaultLine) }
func (l *Limits) fields() int  { return or(l.Fields, defaultFields) }
func (l *Limits) trailer() int { return or(l.Trailer, defaultTrailer) }

// HeadSize is the greatest number of bytes that a header section can take, which a read buffer must be able to hold.
func (l *Limits) HeadSize() int { return or(l.Head, defaultHead) + 2*maxEmptyLines }

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Scanner finds the end of a header section as it arrives; each byte is looked at once. Its zero value is ready.
type Scanner struct {
	start int // of the start line
	line  int // start of the line that the search has come to
	at    int // how far the search has come
}

// Request looks for the end of a request's header section in b, which holds everything that has come since the last request.
// b[start:end] is for [RequestHead.Parse]; end is 0 when more must come.
func (s *Scanner) Request(b []byte, lim *Limits) (start, end int, err error) {
	end, f := s.scan(b, lim, maxEmptyLines)
	return s.start, end, f.of(false)
}

// Response is Request for a response. Nothing may come before its status line.
func (s *Scanner) Response(b []byte, lim *Limits) (end int, err error) {
	end, f := s.scan(b, lim, 0)
	return end, f.of(true)
}

// mayBegin is a byte that a start line may begin with, or that the search says more of.
var mayBegin = func() (t [256]bool) {
	for c := range 256 {
		t[c] = lower[c] != 0 || c == '\r' || c == '\n'
	}
	return t
}()

func (s *Scanner) scan(b []byte, lim *Limits, empty int) (end int, f fault) {
	for {
		limit, over := s.start+or(lim.Head, defaultHead), faultLarge
		if n := s.start + lim.line(); s.line == s.start && n < limit {
			limit, over = n, faultLongLine
		}
		part := b[:min(len(b), limit)]
		if s.line == s.start && s.start < len(part) && !mayBegin[b[s.start]] {
			return 0, faultMethod // such as TLS: its line may never end
		}
		i := bytes.IndexByte(part[s.at:], '\n')
		if i < 0 {
			s.at = len(part)
			if len(part) == limit {
				return 0, over
			}
			return 0, 0
		}
		i += s.at
		if i == s.line || b[i-1] != '\r' {
			return 0, faultBareLF
		}
		if i-1 == s.line {
			if s.line > s.start {
				return i + 1, 0
			}
			if s.start >= 2*empty {
				return 0, faultEmptyLines
			}
			s.start = i + 1
		}
		s.line, s.at = i+1, i+1
	}
}
