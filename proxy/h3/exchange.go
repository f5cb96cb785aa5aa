package h3

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

// Sizes of an exchange's buffers.
const (
	inSize   = 4 << 10
	keepSize = 32 << 10 // a buffer that has grown beyond that is not kept
)

var exchanges = sync.Pool{New: func() any { return &exchange{in: make([]byte, inSize)} }}

// exchange is one request and its response, on one stream. It is used again for others.
type exchange struct {
	// kept
	in    []byte // where the reader begins
	arena []byte // strings of the request that came in Huffman code
	out   []byte // what is to be written
	asm   assemble.Assembler

	// of this request
	conn   *conn
	worker *worker
	str    stream
	id     int64
	slot   int  // in conn.active
	preset bool // a PRIORITY_UPDATE came before the request: it overrides the field (RFC 9218 §7)
	r      reader
	req    message.Request
	until  time.Time // when the header section must be there
	body   *body
	resp   *responder
	end    context.CancelCauseFunc // of the context of what may become a tunnel

	// the sending side
	moved  int64         // octets written
	waited time.Duration // for the client to take them
	broken bool          // not all was
	reset  bool
	closed bool
}

func (x *exchange) begin(c *conn, w *worker, str stream, now time.Time) {
	x.conn, x.worker, x.str = c, w, str
	x.r = reader{in: str, wait: x, buf: x.in}
	x.until = now.Add(c.server.cfg.HeaderTimeout)
	x.req.Received = now
	x.out = x.out[:0]
	x.arena = x.arena[:0]
	x.moved, x.waited, x.broken, x.reset, x.closed, x.preset = 0, 0, false, false, false, false
	x.asm.Begin("https", c.server.cfg.MaxHeader)
}

// release lets go of everything that is not kept.
func (x *exchange) release() {
	if cap(x.out) > keepSize {
		x.out = nil
	}
	if cap(x.arena) > keepSize {
		x.arena = nil
	}
	x.conn, x.worker, x.str, x.body = nil, nil, nil, nil
	x.r, x.req, x.resp, x.end = reader{}, message.Request{}, nil, nil
}

// before and after bound the waits for the header section. The leader is not to wait long; see worker.
func (x *exchange) before() {
	t := x.until
	if x.worker != nil && x.worker.leads {
		if soon := x.req.Received.Add(leadPatience); soon.Before(t) {
			t = soon
		}
	}
	_ = x.str.SetReadDeadline(t)
}

func (x *exchange) after(_ int, timedOut bool) (again bool) {
	if !timedOut || x.worker == nil || !x.worker.leads {
		return false
	}
	x.worker.handOver()
	return true
}

// run reads the request and answers it.
func (x *exchange) run() {
	defer x.recovered()
	if err := x.read(); err != nil {
		x.fail(err)
		return
	}
	if x.conn.held && x.req.TLS.EarlyData {
		if err := x.settle(); err != nil {
			x.fail(err)
			return
		}
		x.serve() // a quick answer is for who has not waited
		return
	}
	s := x.conn.server
	if s.quick != nil {
		if a := s.quick.Quick(&x.req); a != nil {
			x.sendReady(a)
			x.endBody()
			return
		}
	}
	x.worker.handOver()
	x.serve()
}

// recovered ends an exchange in which the handler panicked; the process goes on.
func (x *exchange) recovered() {
	p := recover()
	if p == nil {
		return
	}
	r := &x.req
	x.conn.server.count(errPanic.kind)
	x.conn.server.log.Error("a request handler panicked; the request failed, the edge goes on",
		"method", r.Method, "authority", r.Authority, "path", r.Target.Path, "panic", p, "stack", string(debug.Stack()))
	if x.moved == 0 && !x.reset && (x.resp == nil || !x.resp.wrote.Load()) {
		x.answer(500)
		return
	}
	x.cancel(errPanic.code)
}

// context is the handler's.
func (x *exchange) context() (ctx context.Context, cancel func()) {
	c := x.conn
	if x.req.Upgrade == "" {
		return message.WithServer(x.str.Context(), c.ctx), func() {}
	}
	// A tunnel goes on when its sending side was closed, by us.
	own, end := context.WithCancelCause(message.WithServer(c.base, c.ctx))
	x.end = end
	sending := x.str.Context()
	stop := context.AfterFunc(sending, func() {
		if cause := context.Cause(sending); !errors.Is(cause, quic.ErrStreamClosed) {
			end(cause)
		}
	})
	return own, func() { stop(); end(nil) }
}
