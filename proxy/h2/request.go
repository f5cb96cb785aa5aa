package h2

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"nearcast/proxy/h2/hpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

// request makes a request of the section of s and has it answered. s is not in the table yet.
func (c *conn) request(s *stream) error {
	if err := c.assemble(s); err != nil {
		return c.refuse(s, err)
	}
	if q := c.srv.quick; q != nil {
		if !c.quick(q, s) {
			return c.crashed(s)
		}
		if s.ready != nil {
			c.answer(s, s.ready)
			return nil
		}
	}
	c.mu.Lock()
	defer c.unlock()
	s.handled = true
	s.cond = sync.NewCond(&c.mu)
	s.movedAt = c.now
	c.attach(s)
	ctx := context.Context(nil)
	ctx, s.cancel = context.WithCancelCause(message.WithServer(c.ctx, c.ctx))
	c.wg.Add(1)
	go c.serve(ctx, s)
	return nil
}

func (c *conn) scheme() string {
	if c.info.TLS != nil {
		return "https"
	}
	return "http"
}

// assemble fills in the request.
func (c *conn) assemble(s *stream) error {
	a, r := &s.asm, &s.req
	a.Begin(c.scheme(), c.srv.cfg.MaxHeader)
	for _, f := range s.section.Fields {
		if f.Name == "priority" && c.early.id != s.id {
			s.priority = parsePriority(f.Value)
			c.mu.Lock()
			c.ordered = true
			c.mu.Unlock()
		}
		if a.Field(f.Name, f.Value) != nil {
			break
		}
	}
	if s.section.Over() {
		_ = a.TooLarge()
	}
	if err := a.Finish(r); err != nil {
		return err
	}
	r.Protocol, r.Client, r.Local, r.TLS, r.Received = message.HTTP2, c.info.Client, c.info.Local, c.info.TLS, c.now
	switch {
	case r.Upgrade != "": // also one whose client has nothing to say
		r.ContentLength = 0
		s.length = assemble.NewContent(-1)
		s.body = &body{c: c, s: s}
	case s.recvEnd:
		s.length = assemble.NewContent(0)
		return assemble.NoContent(r)
	default:
		s.length = assemble.NewContent(r.ContentLength)
		s.expect = a.ExpectsContinue()
		s.body = &body{c: c, s: s}
		r.Body, r.Trailers = s.body, s.body.trailers
	}
	return nil
}

// quick asks the handler for a ready answer; false when that or its header section panicked, which ends the exchange, never the process.
func (c *conn) quick(q message.QuickHandler, s *stream) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(s, p)
		}
	}()
	if s.ready = q.Quick(&s.req); s.ready != nil {
		s.head = appendReady(s.head[:0], &s.req, s.ready)
	}
	return true
}

// piece is the next piece of a ready answer; nil also when that panics.
func (c *conn) piece(s *stream) []byte {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(s, p)
		}
	}()
	return s.ready.Body.Next()
}

func (c *conn) logPanic(s *stream, p any) {
	r := &s.req
	c.srv.log.Error("a request handler panicked; the request failed, the edge goes on",
		"method", r.Method, "authority", r.Authority, "path", r.Target.Path, "panic", p, "stack", string(debug.Stack()))
}

// crashed resets a stream whose handler panicked.
func (c *conn) crashed(s *stream) error {
	c.mu.Lock()
	defer c.unlock()
	c.attach(s)
	c.reset(s, codeInternal, errAborted)
	return nil
}

// refuse ends a request that no handler may see: with an answer where it is understood at all, otherwise with RST_STREAM
// (RFC 9113 §8.1.1).
func (c *conn) refuse(s *stream, err error) error {
	defer s.free()
	status, reason := 400, err.Error()
	if e, ok := err.(*assemble.Error); ok {
		status, reason = e.Status, e.Reason
	}
	if r := c.srv.refuser; r != nil {
		x := message.Refusal{Protocol: message.HTTP2, ConnInfo: c.info, Status: status, Reason: reason}
		x.Method, x.Authority, x.Target = s.asm.Known()
		r.Refused(x)
	}
	c.mu.Lock()
	defer c.unlock()
	if status == 0 {
		return c.faultAt(s.id, codeProtocol, kindMalformed)
	}
	s.head = hpack.AppendStatus(s.head[:0], status)
	s.head = hpack.AppendPlain(s.head, "date", time.Now().UTC().Format(http.TimeFormat))
	s.head = hpack.AppendContentLength(s.head, 0)
	c.appendBlock(s.id, s.head, true)
	if !s.recvEnd {
		c.sendReset(s.id, codeNo)
	}
	return c.control(c.out.b)
}

// answer sends a ready answer, at once if windows and buffer have room for all of it.
func (c *conn) answer(s *stream, a *message.Ready) {
	s.fin = true
	if a.Body != nil {
		s.left = a.BodyLength
	}
	c.mu.Lock()
	if c.out != nil && len(c.out.b)+len(s.head)+int(min(s.left, outMax)) > outMax {
		c.flush(c.directWrites())
	}
	if s.direct = c.fits(s); s.direct {
		for s.wants() {
			c.step(s)
		}
		c.mu.Unlock()
		a.Done(s.sent, s.complete)
		s.free()
		return
	}
	defer c.unlock()
	c.attach(s)
	c.enqueue(s)
	if c.full() { // nobody waits for the end of the burst
		c.flush(c.directWrites())
	}
}

// fits reports whether an answer can be put into the buffer as a whole, before nobody who is more urgent.
func (c *conn) fits(s *stream) bool {
	if len(c.sendq) > 0 && s.left > 0 || !s.recvEnd || c.broken {
		return false
	}
	room := int64(outMax)
	if c.out != nil {
		room -= int64(len(c.out.b))
	}
	return s.left <= c.window && s.left <= s.window && s.left+int64(len(s.head)) <= room
}

// appendReady appends the field block of a ready answer.
func appendReady(b []byte, r *message.Request, a *message.Ready) []byte {
	b = hpack.AppendStatus(b, a.Status)
	if a.Block != nil {
		b = append(b, a.Block.Encoded(message.HTTP2, appendSendable)...)
	}
	for i := range a.Fields {
		f := &a.Fields[i]
		if f.Name != "content-length" && (r.AltSvc == "" || f.Name != "alt-svc") {
			b = hpack.AppendPlain(b, f.Name, f.Value)
		}
	}
	if r.AltSvc != "" {
		b = hpack.AppendPlain(b, "alt-svc", r.AltSvc)
	}
	if a.ContentLength >= 0 && lengthAllowed(a.Status) {
		b = hpack.AppendContentLength(b, a.ContentLength)
	}
	return b
}

// lengthAllowed is false for a 204 (RFC 9110 §8.6), and for a 304: RFC 9113 §8.1.1 allows it there, but some clients wait for a body then.
func lengthAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// appendSendable appends the fields that may be sent.
func appendSendable(b []byte, f message.Fields) []byte {
	for i := range f {
		if sendable(&f[i]) {
			b = hpack.AppendField(b, f[i].Name, f[i].Value)
		}
	}
	return b
}

// sendable keeps out connection-specific fields (RFC 9113 §8.2.2), what frames tell, and what would make the response malformed (§8.2.1).
func sendable(f *message.Field) bool {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "http2-settings":
		return false
	}
	return message.IsLowerToken(f.Name) && message.IsFieldValue(f.Value)
}

// serve runs the handler.
func (c *conn) serve(ctx context.Context, s *stream) {
	defer c.wg.Done()
	w := &writer{c: c, s: s, length: -1}
	w.serve(ctx)
	s.cancel(nil)
	c.mu.Lock()
	defer c.unlock()
	w.over = true
	if s.body != nil {
		s.body.over = true
	}
	s.cond.Broadcast() // whoever the handler left behind
	s.handled = false
	switch {
	case !s.detached && !s.sentEnd:
		c.reset(s, codeInternal, errAborted)
	case !s.detached:
		c.reset(s, codeNo, nil)
	default:
		c.release(s)
	}
	c.flush(1)
}
