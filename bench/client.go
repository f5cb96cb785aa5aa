package bench

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
)

// answer is what one response said.
type answer struct {
	status int
	edge   string
	field  string
}

// conn is one connection to the server.
type conn interface {
	// do performs one request. Its error is an unusableError when nothing was sent because the connection had ended, and an
	// orderlyError when the server certainly did not act on the request because it was closing the connection.
	do(ctx context.Context) (answer, error)
	// usable reports whether another request may be sent.
	usable() bool
	// close ends the connection and waits for its goroutines.
	close()
}

// unusableError says that the connection had ended before the request was sent, orderlyError that the server closed it in
// an orderly way and left the request aside.
type (
	unusableError struct{ error }
	orderlyError  struct{ error }
)

func (e unusableError) Unwrap() error { return e.error }
func (e orderlyError) Unwrap() error  { return e.error }

// client makes requests over connections by the plan's protocol.
type client struct {
	plan    *plan
	pool    pool // nil: a connection for each request
	dialled atomic.Int64
}

// pool keeps connections alive. take's second result tells a connection that has carried a request before.
type pool interface {
	take(ctx context.Context) (conn, bool, error)
	// put gives a connection back after a request that ended with err.
	put(c conn, err error)
	close()
}

func newClient(p *plan) *client {
	c := &client{plan: p}
	switch {
	case !p.KeepAlive:
	case p.Protocol == HTTP1:
		c.pool = newExclusivePool(p.Connections, c.dial)
	default:
		c.pool = newSharedPool(p.Connections, p.Timeout, c.dial)
	}
	return c
}

func (c *client) close() {
	if c.pool != nil {
		c.pool.close()
	}
}

func (c *client) dial(ctx context.Context) (conn, error) {
	c.dialled.Add(1)
	switch c.plan.Protocol {
	case HTTP2:
		return dialHTTP2(ctx, c.plan)
	case HTTP3:
		return dialHTTP3(ctx, c.plan)
	default:
		return dialHTTP1(ctx, c.plan)
	}
}

// request performs one arrival's request. Only here is anything done twice: a connection that ended before the request was
// sent is replaced, as every client does, and RetryIdleClosed repeats a request once.
func (c *client) request(ctx context.Context) (ans answer, retried bool, err error) {
	if c.pool == nil {
		conn, err := c.dial(ctx)
		if err != nil {
			return answer{}, false, err
		}
		defer conn.close()
		ans, err = conn.do(ctx)
		return ans, false, err
	}
	const replacements = 4 // connections found ended in a row before the request counts as failed
	for range replacements {
		var reused bool
		ans, reused, err = c.pooled(ctx)
		switch {
		case as[unusableError](err):
			continue
		case as[orderlyError](err) && reused && !retried && c.plan.RetryIdleClosed:
			retried = true
			continue
		}
		break
	}
	return ans, retried, err
}

func (c *client) pooled(ctx context.Context) (answer, bool, error) {
	conn, reused, err := c.pool.take(ctx)
	if err != nil {
		return answer{}, false, err
	}
	ans, err := conn.do(ctx)
	c.pool.put(conn, err)
	return ans, reused, err
}

// finish reads a response to its end.
func (p *plan) finish(resp *http.Response, edge string) (answer, error) {
	ans := answer{status: resp.StatusCode, edge: edge}
	if p.ResponseField != "" {
		ans.field = resp.Header.Get(p.ResponseField)
	}
	_, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil {
		return ans, incompleteError{err}
	}
	return ans, nil
}
