package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// http3Conn is one HTTP/3 connection on a UDP socket of its own, as a client elsewhere on the internet has it.
type http3Conn struct {
	plan   *plan
	socket net.PacketConn
	tr     *quic.Transport
	qc     *quic.Conn
	cc     *http3.ClientConn
	edge   string

	// shared
	leaving atomic.Bool // takes no more requests: GOAWAY (RFC 9114 §5.2) or the end
}

func dialHTTP3(ctx context.Context, p *plan) (conn, error) {
	addr, err := net.ResolveUDPAddr("udp", p.Address)
	if err != nil {
		return nil, err
	}
	socket, err := p.ListenUDP()
	if err != nil {
		return nil, err
	}
	c := &http3Conn{plan: p, socket: socket, tr: &quic.Transport{Conn: socket}}
	// Idle connections stay: whether the server or the path keeps them is part of what is measured.
	c.qc, err = c.tr.Dial(ctx, addr, p.tls, &quic.Config{MaxIdleTimeout: p.Silence, KeepAlivePeriod: min(p.Silence/3, 10*time.Second),
		HandshakeIdleTimeout: p.Timeout, MaxIncomingStreams: -1})
	if err != nil {
		c.tr.Close()
		c.socket.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	c.cc = (&http3.Transport{DisableCompression: true}).NewClientConn(c.qc)
	c.edge = edgeName(c.qc.ConnectionState().TLS)
	return c, nil
}

func (c *http3Conn) usable() bool { return !c.leaving.Load() && c.qc.Context().Err() == nil }

func (c *http3Conn) close() {
	c.qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	c.tr.Close()
	c.socket.Close()
}

func (c *http3Conn) do(ctx context.Context) (answer, error) {
	resp, err := c.cc.RoundTrip(c.plan.newRequest(ctx))
	if err != nil {
		return answer{edge: c.edge}, c.explain(ctx, err)
	}
	ans, err := c.plan.finish(resp, c.edge)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return ans, err
}

// explain finds out what err says about the request. One of the library's errors has no name to compare with.
func (c *http3Conn) explain(ctx context.Context, err error) error {
	var h3 *http3.Error
	var app *quic.ApplicationError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.HasPrefix(err.Error(), "http3: conn unusable: "):
		c.leaving.Store(true) // the library tells of a GOAWAY by this error alone
		return unusableError{err}
	case errors.As(err, &h3) && (h3.ErrorCode == http3.ErrCodeRequestRejected || h3.ErrorCode == http3.ErrCodeNoError && h3.Remote),
		errors.As(err, &app) && app.Remote && app.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError):
		return orderlyError{err}
	case as[*quic.IdleTimeoutError](err), as[*quic.StatelessResetError](err), as[*quic.TransportError](err):
		return brokenError{err}
	}
	return err
}

func isHTTP3Error(err error) bool {
	return as[*http3.Error](err) || as[*quic.ApplicationError](err) || as[*quic.StreamError](err)
}
