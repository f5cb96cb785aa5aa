package h2

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"nearcast/proxy/h2/hpack"
	"nearcast/proxy/message"
)

// writeBuf is how much content waits for more before it is sent.
const writeBuf = 8 << 10

// writer is a message.ResponseWriter. It is not used again: somebody whom the handler left behind may still hold it.
type writer struct {
	c    *conn
	s    *stream
	over bool // the handler has returned; guarded by the connection's lock

	head    []byte // the header section's block, until it is sent
	wrote   bool
	noBody  bool  // HEAD, 204, 304: what is written goes nowhere
	length  int64 // declared, -1 when not
	written int64
	buf     []byte
	tunnel  *tunnel
	ended   bool // our side of the stream
	aborted bool
}

// serve calls the handler and sees to the response's end.
func (w *writer) serve(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			w.c.logPanic(w.s, p)
			w.aborted = w.aborted || w.wrote
		}
		w.finish(ctx)
	}()
	w.c.srv.handler.Serve(ctx, w, &w.s.req)
}

// finish ends a response that is complete; serve resets what is not.
func (w *writer) finish(ctx context.Context) {
	if !w.wrote && !w.aborted && ctx.Err() == nil {
		_ = w.WriteHeader(http.StatusInternalServerError, nil, 0)
	}
	switch {
	case w.aborted || !w.wrote || w.ended:
	case w.tunnel != nil:
		_ = w.tunnel.CloseWrite()
	case w.noBody || w.length < 0 || w.written == w.length:
		_ = w.push(w.buf, true, nil)
	}
}

// WriteInformational implements message.ResponseWriter. 100 the server sends itself.
func (w *writer) WriteInformational(status int, fields message.Fields) error {
	switch {
	case w.aborted:
		return errAborted
	case w.wrote:
		return errTwice
	case status < 100 || status > 199 || status == http.StatusSwitchingProtocols:
		return fmt.Errorf("h2: %d is not an informational status that can be sent", status)
	case status == http.StatusContinue:
		return nil
	}
	w.head = appendSendable(hpack.AppendStatus(w.head[:0], status), fields)
	return w.push(nil, false, nil)
}

// WriteHeader implements message.ResponseWriter.
func (w *writer) WriteHeader(status int, fields message.Fields, length int64) error {
	switch {
	case w.aborted:
		return errAborted
	case w.wrote:
		return errTwice
	case status < 200 || status > 999:
		return fmt.Errorf("h2: %d is not a final status", status)
	}
	w.wrote, w.length = true, length
	w.noBody = w.s.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	w.appendHead(status, fields)
	if length >= 0 && lengthAllowed(status) {
		w.head = hpack.AppendContentLength(w.head, length)
	}
	if w.noBody || length == 0 {
		return w.push(nil, true, nil)
	}
	return nil
}

func (w *writer) appendHead(status int, fields message.Fields) {
	alt := w.s.req.AltSvc
	w.head = hpack.AppendStatus(w.head[:0], status)
	for i := range fields {
		if f := &fields[i]; sendable(f) && (alt == "" || f.Name != "alt-svc") {
			w.head = hpack.AppendField(w.head, f.Name, f.Value)
		}
	}
	if alt != "" {
		w.head = hpack.AppendField(w.head, "alt-svc", alt)
	}
}

// Write implements message.ResponseWriter. The end of a declared length waits for what may follow it: trailers, or nothing.
func (w *writer) Write(p []byte) (int, error) {
	switch {
	case w.aborted:
		return 0, errAborted
	case !w.wrote:
		return 0, errNoHead
	case w.noBody || len(p) == 0:
		return len(p), nil
	case w.length >= 0 && int64(len(p)) > w.length-w.written:
		return 0, errTooLong
	case w.ended:
		return 0, errEnded
	}
	w.written += int64(len(p))
	now := p
	if len(w.buf)+len(p) <= writeBuf {
		now = nil
	} else if w.written == w.length {
		now = p[:len(p)-min(len(p), writeBuf/2)]
	}
	if len(now) > 0 || len(w.buf)+len(p) > writeBuf {
		if err := w.pushBoth(now); err != nil {
			return 0, err
		}
	}
	if rest := p[len(now):]; len(rest) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, writeBuf)
		}
		w.buf = append(w.buf, rest...)
	}
	return len(p), nil
}

// pushBoth sends what is buffered, and p.
func (w *writer) pushBoth(p []byte) error {
	if len(w.buf) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(p) == 0 {
		return nil
	}
	return w.push(p, false, nil)
}

// Flush implements message.ResponseWriter.
func (w *writer) Flush() error {
	switch {
	case w.aborted:
		return errAborted
	case !w.wrote:
		return errNoHead
	case w.ended:
		return nil
	}
	return w.flush()
}

func (w *writer) flush() error {
	err := w.push(w.buf, false, nil)
	w.buf = w.buf[:0]
	return err
}

// WriteTrailers implements message.ResponseWriter.
func (w *writer) WriteTrailers(fields message.Fields) error {
	switch {
	case w.aborted:
		return errAborted
	case !w.wrote:
		return errNoHead
	case w.ended: // without content, or with all that was declared
		return nil
	case w.length >= 0 && w.written != w.length:
		return errTooShort
	}
	err := w.push(w.buf, true, appendSendable(nil, fields))
	w.buf = nil
	return err
}

// SwitchProtocols implements message.ResponseWriter: 200 on the stream of an extended CONNECT (RFC 8441 §5).
func (w *writer) SwitchProtocols(fields message.Fields) (message.Tunnel, error) {
	switch {
	case w.s.req.Upgrade == "":
		return nil, errors.ErrUnsupported
	case w.aborted:
		return nil, errAborted
	case w.wrote:
		return nil, errTwice
	}
	w.wrote, w.length = true, -1
	w.appendHead(http.StatusOK, fields)
	w.c.beginTunnel(w.s)
	w.tunnel = &tunnel{w: w, body: w.s.body}
	return w.tunnel, w.flush()
}

// Abort implements message.ResponseWriter.
func (w *writer) Abort() { w.aborted = true }

// push hands what is to be sent to the scheduler, and waits until it has taken it. head goes first; end says that nothing follows, but
// tail. p is not used once push has returned.
func (w *writer) push(p []byte, end bool, tail []byte) error {
	c, s := w.c, w.s
	c.mu.Lock()
	defer c.unlock()
	if w.over {
		return errEnded
	}
	if s.err != nil {
		return clientGone(s.err)
	}
	if s.detached || s.sentEnd {
		return errEnded
	}
	if w.interrupted() && !end {
		return errInterrupted
	}
	if w.wrote {
		s.sentHead = true
	}
	s.head, w.head = append(s.head[:0], w.head...), w.head[:0]
	s.pend, s.fin, s.tail = p, end, tail
	w.ended = end
	c.enqueue(s)
	c.flush(2)
	for !w.over && s.wants() && !c.broken && (end || !w.interrupted()) {
		s.cond.Wait()
	}
	switch {
	case w.over:
		return errEnded
	case w.interrupted() && s.wants(): // p is not to be used any more
		c.reset(s, codeCancel, errInterrupted)
		c.flush(1)
		return errInterrupted
	case s.err != nil:
		return clientGone(s.err)
	case c.broken && !s.sentEnd:
		return clientGone(errConnEnd)
	}
	return nil
}

// interrupted reports whether the handler has given up a tunnel.
func (w *writer) interrupted() bool { return w.tunnel != nil && w.tunnel.cut }

// clientGone is what the pipeline gets of a failed write.
func clientGone(err error) error {
	if err == errSlowTaker {
		return err
	}
	return &message.Error{Blame: message.BlameClient, Reason: errSlowTaker.Reason, Err: err}
}
