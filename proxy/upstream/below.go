package upstream

import (
	"io"
	"net"
)

// below is what TLS reads from. It can tell whether TLS holds bytes that it has not given on, which would be the beginning of what the
// origin sent without being asked.
type below struct {
	net.Conn
	asking bool // reads find nothing
	ended  bool // the connection has ended before TLS did with its alert

	// where in a record (RFC 8446 §5.1) what TLS has read ends
	header [5]byte
	have   int // bytes of header
	left   int // bytes of the record
}

// nothingYet is temporary, so that TLS does not keep it.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

func (b *below) Read(p []byte) (int, error) {
	if b.asking {
		return 0, nothingYet{}
	}
	n, err := b.Conn.Read(p)
	b.pass(p[:n])
	b.ended = b.ended || err == io.EOF
	return n, err
}

// pass follows the records that TLS reads.
func (b *below) pass(p []byte) {
	for len(p) > 0 {
		if b.left > 0 {
			n := min(b.left, len(p))
			b.left -= n
			p = p[n:]
			continue
		}
		n := copy(b.header[b.have:], p)
		b.have += n
		p = p[n:]
		if b.have == len(b.header) {
			b.have, b.left = 0, int(b.header[3])<<8|int(b.header[4])
		}
	}
}

// whole reports whether TLS has read no part of a record.
func (b *below) whole() bool { return b.have == 0 && b.left == 0 }
