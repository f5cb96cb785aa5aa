package front

import (
	"io"
	"net"
)

// preface is what an HTTP/2 client with prior knowledge begins with (RFC 9113 §3.4). No HTTP/1 request does.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniff reads from c until it is clear whether the client speaks HTTP/2. That takes one byte of most HTTP/1 requests, so
// a slow client is not kept waiting. ahead is what was read from c before. The connection it returns gives out again what was read.
func sniff(c net.Conn, ahead []byte) (conn net.Conn, http2 bool, err error) {
	var buf [len(preface)]byte
	read := ahead
	for {
		if n := min(len(read), len(preface)); string(read[:n]) != preface[:n] {
			return withAhead(c, read), false, nil
		} else if n == len(preface) {
			return withAhead(c, read), true, nil
		}
		if err != nil {
			return nil, false, err
		}
		var n int
		n, err = c.Read(buf[:len(preface)-len(read)])
		read = append(read[:len(read):len(read)], buf[:n]...)
	}
}

// withAhead returns c with ahead to be read before the rest. It stays a TCP connection for those who look for one: they write
// several buffers at once, and end one half.
func withAhead(c net.Conn, ahead []byte) net.Conn {
	if len(ahead) == 0 {
		return c
	}
	if tc, ok := c.(*net.TCPConn); ok {
		return &replayTCP{TCPConn: tc, ahead: ahead}
	}
	return &rewound{Conn: c, ahead: ahead}
}

// ahead is what was read of a connection before its time. It is let go of when it has been read again.
type ahead []byte

func (a *ahead) read(p []byte) int {
	n := copy(p, *a)
	if *a = (*a)[n:]; len(*a) == 0 {
		*a = nil
	}
	return n
}

// rewound is a connection of which a part has been read before.
type rewound struct {
	net.Conn
	ahead ahead
}

func (r *rewound) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		return r.ahead.read(p), nil
	}
	return r.Conn.Read(p)
}

// replayTCP is a TCP connection of which a part has been read before.
type replayTCP struct {
	*net.TCPConn
	ahead ahead
}

func (r *replayTCP) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		return r.ahead.read(p), nil
	}
	return r.TCPConn.Read(p)
}

// WriteTo must not pass by what was read.
func (r *replayTCP) WriteTo(w io.Writer) (n int64, err error) {
	if len(r.ahead) > 0 {
		m, err := w.Write(r.ahead)
		r.ahead.read(r.ahead[:m])
		if err != nil {
			return int64(m), err
		}
		n = int64(m)
	}
	m, err := r.TCPConn.WriteTo(w)
	return n + m, err
}
