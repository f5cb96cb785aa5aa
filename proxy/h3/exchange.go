package h3

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
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
	x.r, x.req, x.resp = reader{}, message.Request{}, nil
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

// read reads the request's header section, and finds out whether there is content.
func (x *exchange) read() error {
	section, err := x.section()
	if err != nil {
		return err
	}
	x.arena, err = qpack.Decode(x.arena, section, &x.asm)
	switch {
	case err == qpack.ErrDecompression:
		return errDecompression
	case err != nil:
		return err
	}
	r := &x.req
	if err := x.asm.Finish(r); err != nil {
		return err
	}
	info := &x.conn.info
	r.Protocol, r.Client, r.Local, r.TLS = message.HTTP3, info.Client, info.Local, info.TLS
	if x.conn.early() {
		r.TLS = &x.conn.earlyTLS
	}
	if v := r.Fields.Get("priority"); v != "" && !x.preset {
		x.prioritise(parsePriority(v))
	}
	if r.Upgrade != "" {
		r.ContentLength = 0
		return nil
	}
	return x.content()
}

// section reads up to the end of the HEADERS frame.
func (x *exchange) section() ([]byte, error) {
	for {
		typ, n, err := x.r.next()
		switch {
		case err == io.EOF:
			return nil, errIncomplete
		case err != nil:
			return nil, x.late(err)
		case typ == frameHeaders:
			if n > uint64(x.conn.server.cfg.MaxHeader) {
				return nil, x.asm.TooLarge()
			}
			p, err := x.r.payload(int(n))
			return p, x.late(err)
		case typ == frameData:
			return nil, errUnexpected
		}
		if err := onRequestStream(typ); err != nil {
			return nil, err
		}
		if err := x.r.skip(n); err != nil {
			return nil, x.late(err)
		}
	}
}

// late tells a client that was too slow from one that has gone.
func (x *exchange) late(err error) error {
	if isTimeout(err) {
		return errHeaderTimeout
	}
	return err
}

// content finds out whether the request has a body. Only the end of the stream tells, where no length was declared; it almost always
// comes with the header section. For methods that rarely have content it is waited for, as such a request with content passes by the
// cache.
func (x *exchange) content() error {
	r := &x.req
	switch {
	case r.ContentLength == 0:
		return nil // what comes all the same is never read
	case x.r.eof && x.r.r == x.r.w:
		return assemble.NoContent(r)
	case r.ContentLength < 0 && !x.asm.ExpectsContinue() && (r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Method == "DELETE"):
		ended, err := x.ends()
		if err != nil {
			return x.late(err)
		}
		if ended {
			return assemble.NoContent(r)
		}
	}
	b := &body{x: x, content: assemble.NewContent(r.ContentLength), expect: x.asm.ExpectsContinue()}
	x.body, r.Body, r.Trailers = b, b, b.trailers
	return nil
}

// ends reports whether the stream ends here, or goes on with DATA or trailers.
func (x *exchange) ends() (bool, error) {
	for {
		typ, n, err := x.r.next()
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case typ == frameHeaders, typ == frameData && n > 0:
			x.r.unread(typ, n)
			return false, nil
		case typ != frameData:
			if err := onRequestStream(typ); err != nil {
				return false, err
			}
		}
		if err := x.r.skip(n); err != nil {
			return false, err
		}
	}
}

func (x *exchange) prioritise(p priority) { x.str.SetPriority(p.urgency, p.incremental) }

// fail ends an exchange whose request can't be served.
func (x *exchange) fail(err error) {
	var f *fault
	var e *assemble.Error
	s := x.conn.server
	switch {
	case errors.As(err, &f) && f.conn:
		x.conn.fail(f)
		return
	case errors.As(err, &f):
		x.refused(f.status, f.reason)
		s.count(f.kind)
		x.refuse(f)
	case errors.As(err, &e) && e.Malformed():
		x.refused(0, e.Reason)
		s.count(kindMessage)
		x.cancel(codeMessage)
	case errors.As(err, &e):
		x.refused(e.Status, e.Reason)
		s.count(kindUnanswerable)
		x.answer(e.Status)
	default: // the client has gone, or has reset the stream
		x.cancel(codeRequestCancelled)
	}
}

func (x *exchange) refused(status int, reason string) {
	s := x.conn.server
	if s.refuser == nil {
		return
	}
	method, authority, target := x.asm.Known()
	s.refuser.Refused(message.Refusal{Protocol: message.HTTP3, ConnInfo: x.conn.info, Status: status, Reason: reason,
		Method: method, Authority: authority, Target: target})
}

// refuse ends the stream for f, with an answer where it has a status.
func (x *exchange) refuse(f *fault) {
	if f.status != 0 {
		x.answer(f.status)
		return
	}
	x.cancel(f.code)
}

// answer sends a response of our own, and asks the client to stop.
func (x *exchange) answer(status int) {
	out, at := beginHeaders(x.out[:0])
	out = qpack.AppendStatus(out, status)
	out = qpack.AppendField(out, "date", time.Now().UTC().Format(httpTime))
	out = qpack.AppendField(out, "content-length", "0")
	x.out = endHeaders(out, at)
	_, _ = x.send(x.out)
	x.close()
	x.stopReading()
}

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT" // RFC 9110 §5.6.7

// cancel ends both directions with an error.
func (x *exchange) cancel(code uint64) {
	x.str.CancelRead(quic.StreamErrorCode(code))
	if !x.closed {
		x.abort(code)
	}
}

// abort ends the sending side so that the client sees the response as incomplete.
func (x *exchange) abort(code uint64) {
	x.reset = true
	x.str.CancelWrite(quic.StreamErrorCode(code))
}

// close ends the sending side.
func (x *exchange) close() {
	if !x.reset && !x.closed {
		x.closed = true
		_ = x.str.Close()
	}
}

// stopReading asks the client to stop sending what nobody reads any more (RFC 9114 §4.1).
func (x *exchange) stopReading() {
	if !x.r.eof {
		x.str.CancelRead(codeNoError)
	}
}

// send writes p. It waits for the client as long as the pace allows. After an error the response is incomplete for good.
func (x *exchange) send(p []byte) (int, error) {
	n, err := x.write(p)
	x.broken = x.broken || err != nil
	return n, err
}

func (x *exchange) write(p []byte) (int, error) {
	if x.moved+int64(len(p)) <= alwaysTaken {
		n, err := x.str.Write(p)
		x.moved += int64(n)
		return n, err
	}
	x.worker.handOver()
	pace := x.conn.server.cfg.Pace
	now := time.Now()
	for n := 0; ; {
		if until := pace.Deadline(now, x.waited, x.moved); !until.IsZero() {
			_ = x.str.SetWriteDeadline(until)
		}
		k, err := x.str.Write(p[n:])
		then := now
		now = time.Now()
		x.waited += now.Sub(then)
		x.moved += int64(k)
		n += k
		switch {
		case err == nil:
			return n, nil
		case !isTimeout(err):
			return n, err
		case k == 0 || !pace.Deadline(now, x.waited, x.moved).After(now):
			x.conn.server.count(errResponseTimeout.kind)
			x.cancel(errResponseTimeout.code)
			return n, errResponseTimeout
		}
	}
}

// context is the handler's.
func (x *exchange) context() (ctx context.Context, cancel func()) {
	c := x.conn
	if x.req.Upgrade == "" {
		return message.WithServer(x.str.Context(), c.ctx), func() {}
	}
	// A tunnel goes on when its sending side was closed, by us.
	own, end := context.WithCancelCause(message.WithServer(c.base, c.ctx))
	sending := x.str.Context()
	stop := context.AfterFunc(sending, func() {
		if cause := context.Cause(sending); !errors.Is(cause, quic.ErrStreamClosed) {
			end(cause)
		}
	})
	return own, func() { stop(); end(nil) }
}
