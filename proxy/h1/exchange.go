package h1

import (
	"context"
	"errors"
	"sync"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// exchange is one request and its answer.
type exchange struct {
	c    *conn
	req  message.Request
	head wire.RequestHead

	// of an answer from memory
	ready           *message.Ready
	bodyAt, bodyLen int // where its body is in the output

	w    writer
	body *body // nil when the request has none
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func newExchange(c *conn) *exchange {
	x := exchanges.Get().(*exchange)
	x.c = c
	return x
}

// prepare completes the request, whose header section has been parsed.
func (x *exchange) prepare() {
	c, r := x.c, &x.req
	r.Protocol, r.Scheme = message.HTTP1, "http"
	r.Client, r.Local, r.TLS = c.info.Client, c.info.Local, c.info.TLS
	if r.TLS != nil {
		r.Scheme = "https"
	}
	r.Received = c.in.at
	if x.head.Chunked || r.ContentLength > 0 {
		x.body = newBody(c, &x.head, r.ContentLength)
		r.Body, r.Trailers = x.body, x.body.trailers
	}
}

// free ends the exchange: nothing of it is valid any more.
func (x *exchange) free() {
	f := x.req.Fields[:0]
	clear(f[:cap(f)])
	x.req = message.Request{Fields: f}
	x.c, x.ready, x.body = nil, nil, nil
	x.w = writer{aborted: true} // for whoever writes too late
	exchanges.Put(x)
}

// done gives the answer from memory back and ends the exchange.
func (x *exchange) done(sent int64, complete bool) {
	if o := &x.c.out; o.hand == x {
		o.hand = nil
	}
	x.giveBack(sent, complete)
	x.free()
}

// giveBack tells the owner. Other answers may be waiting for their end, so that a panic of the owner's must not get past here.
func (x *exchange) giveBack(sent int64, complete bool) {
	defer func() {
		if p := recover(); p != nil {
			x.c.srv.panicked(p, &x.req)
		}
	}()
	if !complete {
		x.ready.Err = x.c.cut()
	}
	x.ready.Done(sent, complete)
}

// noBody reports whether a response with that status has no body whatever it says (RFC 9110 §6.4.1).
func (x *exchange) noBody(status int) bool {
	return x.req.Method == "HEAD" || status == 204 || status == 304
}

// appendOwn appends the field lines that are this side's, and the end of the header section. length is -1 for none.
func (x *exchange) appendOwn(b []byte, status int, length int64, last bool) []byte {
	if x.req.AltSvc != "" {
		b = wire.AppendField(b, "alt-svc", x.req.AltSvc)
	}
	if length >= 0 && status != 204 {
		b = wire.AppendContentLength(b, length)
	}
	switch {
	case last:
		b = append(b, "connection: close\r\n"...)
	case x.head.Minor == 0:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// encodeBlock appends the lines of a stored header section. An origin's alt-svc speaks of other sockets than ours.
func encodeBlock(dst []byte, f message.Fields) []byte { return appendFields(dst, f, true) }

// appendFields appends the lines of f, without alt-svc when there is one of ours.
func appendFields(dst []byte, f message.Fields, ours bool) []byte {
	for i := range f {
		if !(ours && f[i].Name == "alt-svc") && wire.Sendable(&f[i]) {
			dst = wire.AppendField(dst, f[i].Name, f[i].Value)
		}
	}
	return dst
}

// fieldsSize is how many bytes the lines of f take at most.
func fieldsSize(f message.Fields) (n int) {
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value) + 4
	}
	return n
}

var errShortBody = errors.New("the body is shorter than its declared length")

// serve lets the handler answer. It returns false when the connection is to end.
func (c *conn) serve(x *exchange) bool {
	defer x.free()
	c.in.pinned()
	ctx := message.NewContext(c.server)
	defer ctx.End(nil)
	c.served.Store(ctx)
	defer c.served.Store(nil)
	if c.server.Err() != nil { // stopped may have looked just before
		ctx.End(nil)
	}
	x.w = writer{x: x, c: c, length: -1, chunkAt: -1, ctx: ctx}
	if c.watch == nil {
		c.watch = &watcher{c: c}
	}
	c.watch.begin(ctx, x.body == nil)
	c.call(ctx, x)
	if t := x.w.tunnel; t != nil {
		t.end()
		return false
	}
	unread := x.body.leave()
	gone := c.watch.end()
	ok := x.w.finish(ctx)
	c.in.unpin()
	c.in.at = time.Now() // what is buffered begins to be dealt with now
	switch {
	case !ok || gone:
		return c.stop(ok)
	case x.w.last && unread:
		if c.out.flush() == nil {
			c.linger(lingerBody)
		}
		return false
	case x.w.last:
		return c.stop(true)
	case unread:
		if c.out.flush() != nil {
			return false
		}
		if c.drain(x.body) {
			return true
		}
		c.linger(lingerRefused)
		return false
	}
	return len(c.out.buf) < maxOut || c.out.flush() == nil
}

// stop sends what is left and ends the connection.
func (c *conn) stop(ok bool) bool {
	if c.out.flush() == nil && ok {
		c.finish()
	}
	return false
}

// call runs the handler. A panic in it ends the exchange, never the process.
func (c *conn) call(ctx context.Context, x *exchange) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.panicked(p, &x.req)
			if x.w.wroteHeader {
				x.w.Abort()
			}
		}
	}()
	c.srv.handler.Serve(ctx, &x.w, &x.req)
}
