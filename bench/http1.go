package bench

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// http1Conn is one HTTP/1.1 connection, used by one request at a time.
type http1Conn struct {
	// immutable
	plan *plan
	nc   *link
	edge string

	// owned by watch while it peeks, by do between readable and consumed
	br *bufio.Reader

	// owned by do
	spent bool // no further request may be sent

	// shared
	readable chan struct{} // watch → do: a byte has arrived
	consumed chan struct{} // do → watch: the response has been read
	ended    chan struct{} // closed by watch when reading has failed, after endErr is set
	endErr   error
	closing  chan struct{}
	watching sync.WaitGroup
}

func dialHTTP1(ctx context.Context, p *plan) (conn, error) {
	nc, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &http1Conn{plan: p, nc: nc, edge: nc.edge, br: bufio.NewReader(nc), readable: make(chan struct{}),
		consumed: make(chan struct{}), ended: make(chan struct{}), closing: make(chan struct{})}
	c.watching.Go(c.watch)
	return c, nil
}

// watch waits for the first byte of each response, so that the end of an idle connection is known before a request is sent
// on it.
func (c *http1Conn) watch() {
	for {
		if _, err := c.br.Peek(1); err != nil {
			c.endErr = err
			close(c.ended)
			return
		}
		select {
		case c.readable <- struct{}{}:
		case <-c.closing:
			return
		}
		select {
		case <-c.consumed:
		case <-c.closing:
			return
		}
	}
}

func (c *http1Conn) usable() bool {
	select {
	case <-c.ended:
		return false
	case <-c.readable: // bytes that nobody asked for: often a 408, always the end
		c.spent = true
	default:
	}
	return !c.spent
}

func (c *http1Conn) do(ctx context.Context) (answer, error) {
	if !c.usable() {
		return answer{}, unusableError{errors.New("the idle connection had ended")}
	}
	c.spent = true // unless all goes well
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	ans, keep, err := c.exchange(ctx)
	if !stop() && err != nil {
		return ans, ctx.Err()
	}
	if err == nil && keep && ctx.Err() == nil {
		c.spent = false
		c.consumed <- struct{}{}
	}
	return ans, err
}

// exchange sends the request and reads the response; keep says that the connection may carry another.
func (c *http1Conn) exchange(ctx context.Context) (ans answer, keep bool, err error) {
	req := c.plan.newRequest(ctx)
	req.Close = !c.plan.KeepAlive
	bw := bufio.NewWriter(c.nc)
	if err := errors.Join(req.Write(bw), bw.Flush()); err != nil {
		return answer{edge: c.edge}, false, brokenError{err}
	}
	select {
	case <-c.readable:
	case <-c.ended:
		if c.endErr == io.EOF && !c.nc.truncated() {
			return answer{edge: c.edge}, false, orderlyError{c.endErr}
		}
		return answer{edge: c.edge}, false, brokenError{c.endErr}
	}
	resp, err := c.readResponse(req)
	if err != nil {
		return answer{edge: c.edge}, false, err
	}
	ans, err = c.plan.finish(resp, c.edge)
	return ans, err == nil && !resp.Close && resp.StatusCode != http.StatusSwitchingProtocols, err
}

// readResponse reads the header section of the final response (RFC 9110 §15.2).
func (c *http1Conn) readResponse(req *http.Request) (*http.Response, error) {
	for range 16 {
		resp, err := http.ReadResponse(c.br, req)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
	return nil, errors.New("too many informational responses")
}

func (c *http1Conn) close() {
	close(c.closing)
	c.nc.Close()
	c.watching.Wait()
}
