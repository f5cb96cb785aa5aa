package load

import (
	"bytes"
	"math"
	"strings"
)

// maxHead bounds the status line and header section of a response.
const maxHead = 64 << 10

// The states of h1Parser.
const (
	inHead = iota
	inBody
	inChunkLine
	inChunk
	afterChunk
	inTrailer
	inRest // until the connection ends
)

// h1Parser reads the responses of one HTTP/1.1 connection (RFC 9112), strictly: what it is not sure of is an error. It looks at status and
// framing only.
type h1Parser struct {
	head  bool // the request's method is HEAD
	state int
	left  int64 // of the body or the chunk

	status int
	bytes  int64 // of the body so far
	close  bool  // the connection ends after this response

	// The last head, and what it said: the heads of a run are nearly always alike.
	last       []byte
	lastStatus int
	lastLength int64
	lastClose  bool
	lastChunks bool
}

// reset prepares for the next response.
func (p *h1Parser) reset() { p.state, p.left, p.status, p.bytes, p.close = inHead, 0, 0, 0, false }

// consume takes what it can use of b. It needs more bytes when the response is not done; those that it has not used must come again.
func (p *h1Parser) consume(b []byte) (n int, done bool, err error) {
	for {
		switch p.state {
		case inBody, inChunk:
			k := min(p.left, int64(len(b)-n))
			n += int(k)
			p.left -= k
			p.bytes += k
			if p.left > 0 {
				return n, false, nil
			}
			if p.state == inBody {
				return n, true, nil
			}
			p.state = afterChunk
		case inRest:
			p.bytes += int64(len(b) - n)
			return len(b), false, nil
		case inHead:
			end := bytes.Index(b[n:], []byte("\r\n\r\n"))
			if end < 0 {
				return n, false, tooLong(len(b)-n, "the response's head")
			}
			if end > maxHead {
				return n, false, tooLong(end, "the response's head")
			}
			if err := p.readHead(b[n : n+end+4]); err != nil {
				return n, false, err
			}
			n += end + 4
			if p.state == inBody && p.left == 0 {
				return n, true, nil
			}
		default:
			end := bytes.IndexByte(b[n:], '\n')
			if end < 0 {
				return n, false, tooLong(len(b)-n, "a line of the chunked body")
			}
			if end == 0 || b[n+end-1] != '\r' {
				return n, false, failed(Protocol, "a line ends without CR")
			}
			line := b[n : n+end-1]
			n += end + 1
			if done, err := p.readLine(line); err != nil || done {
				return n, done, err
			}
		}
	}
}

func tooLong(n int, what string) error {
	if n < maxHead {
		return nil
	}
	return failed(Protocol, "%s is longer than %d bytes", what, maxHead)
}

// ends says whether the response is whole when the connection ends here.
func (p *h1Parser) ends() bool { return p.state == inRest }

// readLine reads a line of a chunked body (RFC 9112 §7.1).
func (p *h1Parser) readLine(line []byte) (done bool, err error) {
	switch p.state {
	case afterChunk:
		if len(line) > 0 {
			return false, failed(Protocol, "a chunk is longer than it says")
		}
		p.state = inChunkLine
	case inTrailer:
		if len(line) == 0 {
			return true, nil
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); !ok || !validToken(string(name)) {
			return false, failed(Protocol, "%q is no trailer field", line)
		}
	case inChunkLine:
		size, _, _ := bytes.Cut(line, []byte(";"))
		if p.left, err = parseHex(bytes.TrimRight(size, " \t")); err != nil {
			return false, err
		}
		p.state = inChunk
		if p.left == 0 {
			p.state = inTrailer
		}
	}
	return false, nil
}

func parseHex(b []byte) (n int64, err error) {
	for _, c := range b {
		var d byte
		switch {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		default:
			return 0, failed(Protocol, "%q is no chunk size", b)
		}
		if n > math.MaxInt64>>8 {
			return 0, failed(Protocol, "the chunk size %q is too large", b)
		}
		n = n<<4 | int64(d)
	}
	if len(b) == 0 {
		return 0, failed(Protocol, "a chunk without a size")
	}
	return n, nil
}

// readHead reads a whole head, the empty line included, and decides how the body is framed (RFC 9112 §6.3).
func (p *h1Parser) readHead(b []byte) error {
	if !bytes.Equal(b, p.last) {
		if err := p.parseHead(b); err != nil {
			p.last = p.last[:0]
			return err
		}
		p.last = append(p.last[:0], b...)
	}
	p.status, p.close = p.lastStatus, p.lastClose
	switch {
	case p.status == 101:
		return failed(Protocol, "status 101 without a wish to upgrade")
	case p.status < 200:
		p.state = inHead
	case p.head, p.status == 204, p.status == 304:
		p.state, p.left = inBody, 0
	case p.lastChunks:
		p.state = inChunkLine
	case p.lastLength >= 0:
		p.state, p.left = inBody, p.lastLength
	default:
		p.state, p.close = inRest, true
	}
	return nil
}

// parseHead reads the status line and the fields that framing depends on into the last… fields.
func (p *h1Parser) parseHead(b []byte) error {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	// HTTP/1.1 200 OK
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return failed(Protocol, "%q is no status line of HTTP/1.1", line[:min(len(line), 64)])
	}
	p.lastStatus = 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return failed(Protocol, "%q is no status line of HTTP/1.1", line[:min(len(line), 64)])
		}
		p.lastStatus = p.lastStatus*10 + int(c-'0')
	}
	if p.lastStatus < 100 {
		return failed(Protocol, "%d is no status", p.lastStatus)
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return failed(Protocol, "a line ends without CR")
	}
	p.lastLength, p.lastChunks, p.lastClose = -1, false, line[7] == '0'
	for len(rest) > 2 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if err := p.parseField(line); err != nil {
			return err
		}
	}
	if p.lastChunks && p.lastLength >= 0 {
		return failed(Protocol, "both Content-Length and Transfer-Encoding")
	}
	return nil
}

func (p *h1Parser) parseField(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !validToken(string(name)) || bytes.ContainsAny(value, "\r\n\x00") {
		return failed(Protocol, "%q is no header field", line[:min(len(line), 64)])
	}
	value = bytes.Trim(value, " \t")
	switch {
	case fold(name, "content-length"):
		n, err := parseLength(value)
		if err != nil {
			return err
		}
		if p.lastLength >= 0 && p.lastLength != n {
			return failed(Protocol, "two lengths, %d and %d", p.lastLength, n)
		}
		p.lastLength = n
	case fold(name, "transfer-encoding"):
		if !fold(value, "chunked") || p.lastChunks {
			return failed(Protocol, "the transfer coding %q", value)
		}
		p.lastChunks = true
	case fold(name, "connection"):
		for option := range bytes.SplitSeq(value, []byte(",")) {
			switch option = bytes.Trim(option, " \t"); {
			case fold(option, "close"):
				p.lastClose = true
			case fold(option, "keep-alive"): // which HTTP/1.0 needs and HTTP/1.1 does not
				p.lastClose = false
			}
		}
	}
	return nil
}

func parseLength(b []byte) (n int64, err error) {
	for _, c := range b {
		if c < '0' || c > '9' || n > math.MaxInt64/100 {
			return 0, failed(Protocol, "%q is no Content-Length", b)
		}
		n = n*10 + int64(c-'0')
	}
	if len(b) == 0 {
		return 0, failed(Protocol, "an empty Content-Length")
	}
	return n, nil
}

func fold(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}
