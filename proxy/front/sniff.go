package front

import (
	"net"
	"strings"
)

// preface is what an HTTP/2 client with prior knowledge begins with (RFC 9113 §3.4). No HTTP/1 request does.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniff reads from c until it is clear whether the client speaks HTTP/2. That takes one byte of most HTTP/1 requests, so
// a slow client is not kept waiting. The connection it returns gives out again what was read.
func sniff(c net.Conn) (conn net.Conn, http2 bool, err error) {
	var buf [len(preface)]byte
	n := 0
	for n < len(buf) {
		m, err := c.Read(buf[n:])
		n += m
		if !strings.HasPrefix(preface, string(buf[:n])) {
			return &replay{Conn: c, read: buf[:n]}, false, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
	return &replay{Conn: c, read: buf[:]}, true, nil
}

// replay is a connection of which a part has been read before.
type replay struct {
	net.Conn
	read []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}

// CloseWrite ends our half of the connection where it can be ended.
func (r *replay) CloseWrite() error {
	if cw, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}
