package bench

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// answer is what one response said.
type answer struct {
	status int
	edge   string
	field  string
	bytes  int64
}

// conn is one connection to the server.
type conn interface {
	// do performs one request. Its error is an unusableError when nothing was sent because the connection had ended, an orderlyError
	// when the server certainly did not act on the request because it was closing the connection, and a brokenError when the
	// connection ended otherwise before a response began.
	do(ctx context.Context) (answer, error)
	// usable reports whether another request may be sent.
	usable() bool
	// close ends the connection and waits for its goroutines.
	close()
}

// unusableError says that the connection had ended before the request was sent, orderlyError that the server closed it in
// an orderly way and left the request aside, brokenError that it ended in any other way before a response began.
type (
	unusableError struct{ error }
	orderlyError  struct{ error }
	brokenError   struct{ error }
)

func (e unusableError) Unwrap() error { return e.error }
func (e orderlyError) Unwrap() error  { return e.error }
func (e brokenError) Unwrap() error   { return e.error }

// client makes requests over connections by the plan's protocol.
type client struct {
	plan    *plan
	pool    pool // nil: a connection for each request
	dialled atomic.Int64
}

// pool keeps connections alive. The second results tell a connection that has carried a request before.
type pool interface {
	take(ctx context.Context) (conn, bool, error)
	// replace is take for a request that is repeated, after put of the connection that failed it: never one that may have broken
	// with it.
	replace(ctx context.Context, failed conn) (conn, bool, error)
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

// record performs a request and completes its record, whose Start is set.
func (c *client) record(ctx context.Context, rec *Record) error {
	rec.Lag = time.Since(rec.Start)
	ans, retried, err := c.request(ctx)
	rec.Latency = time.Since(rec.Start)
	rec.Status, rec.Edge, rec.Field, rec.Bytes, rec.Retried = ans.status, ans.edge, ans.field, ans.bytes, retried
	rec.Class = classify(err)
	if err == nil && ans.status >= 400 {
		rec.Class = Status
	}
	return err
}

// request performs one arrival's request. Only here is anything done twice: a connection that ended before the request was
// sent is replaced, as every client does, and Options.Retry repeats a request once.
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
	var failed conn        // the one on which the first attempt failed
	for range replacements {
		conn, reused, derr := c.connection(ctx, failed)
		if derr != nil {
			return answer{}, retried, derr
		}
		ans, err = conn.do(ctx)
		c.pool.put(conn, err)
		switch {
		case as[unusableError](err):
			continue
		case reused && !retried && c.plan.Retry.repeats(err):
			retried, failed = true, conn
			continue
		}
		break
	}
	return ans, retried, err
}

func (c *client) connection(ctx context.Context, failed conn) (conn, bool, error) {
	if failed != nil {
		return c.pool.replace(ctx, failed)
	}
	return c.pool.take(ctx)
}

// finish reads a response to its end.
func (p *plan) finish(resp *http.Response, edge string) (answer, error) {
	ans := answer{status: resp.StatusCode, edge: edge}
	if p.ResponseField != "" {
		ans.field = resp.Header.Get(p.ResponseField)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	ans.bytes = n
	if err != nil {
		return ans, incompleteError{err}
	}
	return ans, nil
}
