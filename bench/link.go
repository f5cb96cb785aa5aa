package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// link is a TCP connection, with or without TLS on it.
type link struct {
	net.Conn
	edge string  // common name of the peer's certificate
	raw  *rawTCP // nil without TLS
}

// rawTCP remembers that the peer ended the TCP stream. A tls.Conn reports a bare FIN, such as a killed process leaves, and
// close_notify alike.
type rawTCP struct {
	net.Conn
	ended atomic.Bool
}

func (c *rawTCP) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// truncated reports, after an end of stream, that it came without close_notify (RFC 8446 §6.1).
func (l *link) truncated() bool { return l.raw != nil && l.raw.ended.Load() }

// connect dials and, for https, shakes hands.
func (p *plan) connect(ctx context.Context) (*link, error) {
	nc, err := p.DialTCP(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	if p.tls == nil {
		return &link{Conn: nc}, nil
	}
	raw := &rawTCP{Conn: nc}
	tc := tls.Client(raw, p.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, handshakeError{err}
	}
	state := tc.ConnectionState()
	if want := p.tls.NextProtos[0]; state.NegotiatedProtocol != want && (state.NegotiatedProtocol != "" || p.Protocol != HTTP1) {
		tc.Close()
		return nil, handshakeError{errors.New("the server did not choose ALPN protocol " + want)}
	}
	return &link{Conn: tc, edge: edgeName(state), raw: raw}, nil
}

// edgeName is the common name of the certificate that the server showed.
func edgeName(s tls.ConnectionState) string {
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	return s.PeerCertificates[0].Subject.CommonName
}
