package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// exchange is one request and its response on an HTTP/1.1 connection. It is the response's body too, so that both are one allocation.
type exchange struct {
	Response
	o   *Origin
	ctx context.Context
	a   *Attempt // nil when the header section is there
	c   *conn

	stop   func() bool      // takes back the interruption by ctx, where that is neither a message.Context nor endless
	own    *message.Context // ctx, if it is one
	send   *sender          // nil when no body is streamed
	reused bool
	wrote  bool // bytes of the request may have reached the origin
	heard  bool // bytes of a response came
	taken  bool // bytes of the request's body were read from the client
	holds  bool // the end frees the attempt's place
	probe  bool // not one of the origin's exchanges: its connection is never kept, and it has no place
	over   bool

	hasty     bool  // nothing more is read from the connection
	unbounded bool  // no deadline is set for what follows the header section
	failed    error // what a Read returns afterwards; nil is io.EOF

	pooled *buffer
	b      []byte // pooled, or a larger one
	r, w   int    // what is not yet read of b

	key   string // of a WebSocket handshake that has none of the client's
	head  wire.Response
	body  wire.Body
	lines [20]message.Field // for Fields
}

// attempt1 makes the attempt on an HTTP/1.1 connection, which it keeps or closes. Errors are *message.Error.
func (o *Origin) attempt1(ctx context.Context, a *Attempt, l line) (res *Response, taken bool, err error) {
	x := &exchange{o: o, ctx: ctx, a: a, c: l.c, reused: l.reused, probe: a.last, holds: true}
	if e := x.run(); e != nil {
		return nil, x.taken, e
	}
	return &x.Response, false, nil
}

// run returns when the final header section is there.
func (x *exchange) run() *message.Error {
	returns := false
	defer func() {
		if !returns { // a panic of the request's body, or of who is told of 1xx responses
			x.holds = false
			x.end(closeFault)
		}
	}()
	err := x.talk()
	returns = true
	return err
}

func (x *exchange) talk() *message.Error {
	x.pooled = getBuffer()
	x.b = x.pooled[:]
	x.watch()
	if err := x.request(); err != nil {
		return x.fail(err)
	}
	if err := x.response(); err != nil {
		return x.fail(err)
	}
	x.a = nil
	return nil
}

// request sends the header section and a small body at once, and lets another goroutine send a body that is not small.
func (x *exchange) request() error {
	wait := x.o.cfg.ResponseTimeout
	x.key = newKey(x.a)
	b, err := appendHead(x.b[:0], x.a, x.key)
	if err != nil {
		return unsendable(err)
	}
	n := x.a.bodyLength()
	switch {
	case n > 0 && n <= smallBody && int64(len(b))+n <= bufferSize:
		if b, err = x.small(b, int(n)); err != nil {
			return err
		}
		n = 0
		x.c.begin(after(wait))
	case n == 0:
		x.c.begin(after(wait))
	default:
		x.c.begin(time.Time{})
		x.c.writeBy(after(wait))
	}
	sent, err := x.c.Conn.Write(b)
	x.wrote = sent > 0
	if err == nil && n != 0 {
		x.taken = true
		x.send = newSender(x.c, x.a, wait)
		go x.send.run()
	}
	return err
}

// small reads a small body to the end of b. A kept connection may have been closed while the client was slow: then nothing has been
// sent on it, and a new one takes its place.
func (x *exchange) small(b []byte, n int) ([]byte, error) {
	x.taken = true
	start := len(b)
	b = b[:start+n]
	if _, err := io.ReadFull(x.a.Body, b[start:]); err != nil {
		return b, bodyError(err)
	}
	if x.reused && Idempotent(x.a.Request.Method) { // it can be sent again, if the connection ends before it brings an answer
		x.a.Body, x.taken = bytes.NewReader(bytes.Clone(b[start:])), false
	}
	if !x.reused || x.c.alive() {
		return b, nil
	}
	c, h2, err := x.o.dial(x.ctx)
	if err != nil {
		return b, err
	}
	if h2 {
		c.Conn.Close()
		return b, io.ErrUnexpectedEOF // the origin has changed its mind about versions: the next attempt will do
	}
	x.unwatch()
	x.o.pool.drop(x.c, closeByOrigin)
	x.c, x.reused = c, false
	x.watch()
	return b, nil
}

// watch has the connection interrupted when ctx ends.
func (x *exchange) watch() {
	if own, ok := x.ctx.(*message.Context); ok {
		x.own = own
		own.Hook(&x.c.hook)
	} else if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.c.hook.F)
	}
}

// unwatch takes that back. It returns false when the connection is being interrupted.
func (x *exchange) unwatch() bool {
	own, stop := x.own, x.stop
	x.own, x.stop = nil, nil
	return own != nil && own.Unhook(&x.c.hook) || own == nil && (stop == nil || stop())
}

// response reads header sections up to the final one.
func (x *exchange) response() error {
	for range maxHints {
		end, err := x.find()
		if err != nil {
			return err
		}
		switch final, err := x.parse(end); {
		case err != nil:
			return malformed(err)
		case final:
			return nil
		}
	}
	return malformed(errHints)
}

// maxHints is how many informational responses may come before the final one, and it too.
const maxHints = 16

const status = "HTTP/1."

// find reads until a header section is in the buffer, at x.r, and returns where it ends.
func (x *exchange) find() (end int, err error) {
	lim := x.limits()
	var scan wire.Scanner
	for {
		if x.w > x.r {
			came := x.b[x.r:x.w]
			if !bytes.HasPrefix(came, []byte(status)[:min(len(came), len(status))]) {
				return 0, malformed(errMalformed) // its line may never end
			}
			if end, err = scan.Response(came, &lim); err != nil {
				return 0, malformed(err)
			}
			if end > 0 {
				return x.r + end, nil
			}
		}
		x.room()
		n, err := x.c.Conn.Read(x.b[x.w:])
		x.w += n
		if n > 0 {
			x.heard = true
		} else if err != nil {
			return 0, err
		}
	}
}

func (x *exchange) limits() wire.Limits {
	return wire.Limits{Head: int(x.o.cfg.MaxHeaderSize), Trailer: int(x.o.cfg.MaxHeaderSize)}
}

// room makes room in the buffer for more of what begins at x.r. It is called for less than MaxHeaderSize, so the buffer stays below twice that.
func (x *exchange) room() {
	switch {
	case x.r == x.w:
		x.r, x.w = 0, 0
	case x.w < len(x.b):
	case x.r > 0:
		x.w = copy(x.b, x.b[x.r:x.w])
		x.r = 0
	default:
		larger := make([]byte, 2*len(x.b))
		copy(larger, x.b)
		x.b = larger
		x.release()
	}
}

// release gives the pooled buffer back.
func (x *exchange) release() {
	if x.pooled != nil {
		putBuffer(x.pooled)
		x.pooled = nil
	}
}

// parse takes the header section up to end. final is false for one that another follows.
func (x *exchange) parse(end int) (final bool, err error) {
	block := x.b[x.r:end]
	lim := x.limits()
	x.head.Fields = x.lines[:0]
	if !informational(block) {
		block = bytes.Clone(block) // the response's own from here on
	}
	x.r = end
	if err := x.head.Parse(block, x.a.Request.Method, &lim); err != nil {
		return false, err
	}
	switch p := &x.head; {
	case p.Status == http.StatusSwitchingProtocols:
		return true, x.switched()
	case p.Status < 200:
		if p.Status != http.StatusContinue && x.a.Informational != nil {
			began := time.Now()
			x.a.Informational(p.Status, p.Fields)
			x.c.forgive(time.Since(began))
		}
		return false, nil
	}
	x.final()
	return true, nil
}

// informational reports whether a header section's status is 1xx but not 101.
func informational(block []byte) bool {
	const at = len("HTTP/1.1 ")
	return len(block) > at+2 && block[at] == '1' && block[at+2] != '1'
}

// final takes the final header section.
func (x *exchange) final() {
	x.c.answer()
	x.Response = Response{
		Status: x.head.Status, Fields: x.head.Fields, Body: x, ContentLength: x.head.ContentLength,
		Peer: x.c.peer, Protocol: message.HTTP1,
	}
	x.body.Reset((*source)(x), x.head.Framing, x.head.ContentLength, true, x.limits())
	if x.send != nil && x.Status >= 300 {
		x.send.stop.Store(true) // it has heard enough (RFC 9110 §7.5, RFC 9112 §9.5)
	}
	if x.head.Framing == wire.NoBody {
		if x.Status == http.StatusNoContent {
			x.ContentLength = 0
		}
		x.whole()
	}
}
