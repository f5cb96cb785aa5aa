package bench

//lint:file-ignore SA1019 net/http's own ClientConn hides what GOAWAY and RST_STREAM said behind types without names.

import (
	"context"
	"errors"

	"golang.org/x/net/http2"
)

// http2Conn is one HTTP/2 connection, shared by any number of requests.
type http2Conn struct {
	plan *plan
	cc   *http2.ClientConn
	edge string
}

func dialHTTP2(ctx context.Context, p *plan) (conn, error) {
	nc, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	// Strict: more requests than the server takes at once wait on the connection, as a browser's do.
	t := &http2.Transport{AllowHTTP: true, DisableCompression: true, StrictMaxConcurrentStreams: true}
	cc, err := t.NewClientConn(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &http2Conn{plan: p, cc: cc, edge: nc.edge}, nil
}

func (c *http2Conn) usable() bool { return c.cc.CanTakeNewRequest() }
func (c *http2Conn) close()       { c.cc.Close() }

func (c *http2Conn) do(ctx context.Context) (answer, error) {
	if !c.cc.ReserveNewRequest() {
		return answer{}, unusableError{errors.New("the idle connection had ended")}
	}
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

// explain finds out what err says about the request. Two of the library's errors have no name to compare with.
func (c *http2Conn) explain(ctx context.Context, err error) error {
	var stream http2.StreamError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err.Error() == "http2: client conn not usable":
		return unusableError{err}
	case err.Error() == "http2: Transport received Server's graceful shutdown GOAWAY",
		errors.As(err, &stream) && stream.Code == http2.ErrCodeRefusedStream:
		return orderlyError{err}
	case !c.usable():
		return brokenError{err}
	}
	return err
}

func isHTTP2Error(err error) bool { return as[http2.GoAwayError](err) || as[http2.StreamError](err) }
