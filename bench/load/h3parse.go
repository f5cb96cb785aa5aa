package load

import (
	"strconv"

	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2/hpack"
)

// Frame types (RFC 9114 §7.2).
const (
	h3Data        = 0x0
	h3Headers     = 0x1
	h3CancelPush  = 0x3
	h3Settings    = 0x4
	h3PushPromise = 0x5
	h3GoAway      = 0x7
	h3MaxPushID   = 0xd
)

// h3Parser reads the response on one request stream.
type h3Parser struct {
	skip   uint64 // of the frame that is being passed over
	data   bool   // it is DATA
	status int
	bytes  int64
	ended  bool // a trailer section has come
}

// consume takes what it can use of b. Bytes that it has not used must come again, with more.
func (p *h3Parser) consume(b []byte) (used int, err error) {
	for {
		if p.skip > 0 {
			n := min(p.skip, uint64(len(b)-used))
			used += int(n)
			p.skip -= n
			if p.data {
				p.bytes += int64(n)
			}
		}
		rest := b[used:]
		if len(rest) == 0 {
			return used, nil
		}
		kind, n1, err := quicvarint.Parse(rest)
		if err != nil {
			return used, nil // too short
		}
		length, n2, err := quicvarint.Parse(rest[n1:])
		if err != nil {
			return used, nil
		}
		if kind != h3Headers {
			if err := p.begin(kind); err != nil {
				return used, err
			}
			p.skip, p.data = length, kind == h3Data
			used += n1 + n2
			continue
		}
		if length > maxHead {
			return used, failed(Protocol, "a field section of %d bytes", length)
		}
		if uint64(len(rest)-n1-n2) < length {
			return used, nil
		}
		if err := p.onHeaders(rest[n1+n2 : n1+n2+int(length)]); err != nil {
			return used, err
		}
		used += n1 + n2 + int(length)
	}
}

// begin checks that a frame other than HEADERS may come now.
func (p *h3Parser) begin(kind uint64) error {
	switch kind {
	case h3CancelPush, h3Settings, h3PushPromise, h3GoAway, h3MaxPushID, 0x2, 0x6, 0x8, 0x9:
		return failed(Protocol, "a frame of type %d on a request stream", kind)
	case h3Data:
		if p.status < 200 || p.ended {
			return failed(Protocol, "DATA outside of a response")
		}
	}
	return nil
}

func (p *h3Parser) onHeaders(block []byte) error {
	if p.ended {
		return failed(Protocol, "HEADERS after the trailer section")
	}
	if p.status >= 200 {
		p.ended = true
		return nil
	}
	status, err := qpackStatus(block)
	p.status = status
	return err
}

// end checks that the response is whole when its stream ends, with so many bytes not used.
func (p *h3Parser) end(unused int) error {
	switch {
	case p.skip > 0 || unused > 0:
		return failed(Closed, "the stream ended within a frame")
	case p.status < 200:
		return failed(Protocol, "a response without a final status")
	}
	return nil
}

// qpackStatuses are the statuses in QPACK's static table (RFC 9204 appendix A) by their index.
var qpackStatuses = map[int]int{24: 103, 25: 200, 26: 304, 27: 404, 28: 503, 63: 100, 64: 204, 65: 206, 66: 302, 67: 400, 68: 403, 69: 421, 70: 425, 71: 500}

// qpackStatus reads the status, which is the first line of a response's field section (RFC 9114 §4.3.2: pseudo-fields come first, and
// responses have only this one). The client allows no dynamic table.
func qpackStatus(b []byte) (int, error) {
	if len(b) < 3 || b[0] != 0 {
		return 0, failed(Protocol, "a field section that needs a dynamic table, which was not allowed")
	}
	_, used, ok := readInt(b[1:], 7)
	if !ok || 1+used >= len(b) {
		return 0, failed(Protocol, "a field section without fields")
	}
	b = b[1+used:]
	switch {
	case b[0]&0xc0 == 0xc0: // indexed, static
		i, _, ok := readInt(b, 6)
		if status := qpackStatuses[i]; ok && status != 0 {
			return status, nil
		}
	case b[0]&0xd0 == 0x50: // a literal with a static name
		i, used, ok := readInt(b, 4)
		if ok && qpackStatuses[i] != 0 {
			return literalStatus(b[used:])
		}
	case b[0]&0xe0 == 0x20: // a literal with a literal name
		n, used, ok := readInt(b, 3)
		if ok && n <= len(b)-used && isStatus(b[used:used+n], b[0]&0x08 != 0) {
			return literalStatus(b[used+n:])
		}
	}
	return 0, failed(Protocol, "the response's first field is not its status")
}

func isStatus(name []byte, huffman bool) bool {
	if !huffman {
		return string(name) == ":status"
	}
	s, err := hpack.HuffmanDecodeToString(name)
	return err == nil && s == ":status"
}

// literalStatus reads a status from a string literal.
func literalStatus(b []byte) (int, error) {
	n, used, ok := readInt(b, 7)
	if !ok || n > len(b)-used {
		return 0, failed(Protocol, "a field that is cut off")
	}
	text := string(b[used : used+n])
	if b[0]&0x80 != 0 {
		var err error
		if text, err = hpack.HuffmanDecodeToString(b[used : used+n]); err != nil {
			return 0, failed(Protocol, "%w", err)
		}
	}
	if status, err := strconv.Atoi(text); err == nil && len(text) == 3 && status >= 100 {
		return status, nil
	}
	return 0, failed(Protocol, "%q is no status", text)
}
