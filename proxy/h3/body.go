package h3

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

var errOver = &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body read too late"}

// body is a request's content. It is not used again: whoever reads it may still be at it when the handler has returned, as the transport
// is whose origin answered early.
type body struct {
	str stream      // for Interrupt, which must not wait for the lock
	cut atomic.Bool // Interrupt was called

	mu      sync.Mutex
	x       *exchange // nil when the exchange is over
	content assemble.Content
	expect  bool  // the client waits for a 100
	err     error // what every further read returns
	tail    bool  // the trailers have been read
	fields  message.Fields

	began  time.Time // the wait that is on
	waited time.Duration
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.x == nil:
		return 0, errOver
	case b.cut.Load():
		return 0, errInterrupted
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	if b.expect {
		b.expect = false
		if b.x.r.r == b.x.r.w && !b.x.r.eof {
			b.x.resp.goOn()
		}
	}
	b.x.r.wait = b
	n, err := b.read(p)
	if err != nil {
		b.err = b.fault(err)
	}
	return n, b.err
}

// Interrupt implements message.Interrupter. The client is told with the end of the exchange.
func (b *body) Interrupt() {
	b.cut.Store(true)
	_ = b.str.SetReadDeadline(past)
}

// before and after hold the client to the pace.
func (b *body) before() {
	b.began = time.Now()
	_ = b.str.SetReadDeadline(b.x.conn.server.cfg.Pace.Deadline(b.began, b.waited, b.content.Got()))
	if b.cut.Load() { // Interrupt may have set its deadline just before
		_ = b.str.SetReadDeadline(past)
	}
}

func (b *body) after(int, bool) bool {
	b.waited += time.Since(b.began)
	return false
}

func (b *body) read(p []byte) (int, error) {
	r := &b.x.r
	for r.left == 0 {
		typ, n, err := r.next()
		switch {
		case err == io.EOF:
			if err := b.content.End(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		case err != nil:
			return 0, err
		case (typ == frameData || typ == frameHeaders) && b.tail:
			return 0, errUnexpected
		case typ == frameHeaders:
			if err := b.readTrailers(n); err != nil {
				return 0, err
			}
			continue
		case typ == frameData && n > 0:
			r.left = n
			continue
		case typ != frameData:
			if err := onRequestStream(typ); err != nil {
				return 0, err
			}
		}
		if err := r.skip(n); err != nil {
			return 0, err
		}
	}
	n, err := r.data(p)
	if err != nil {
		return n, err
	}
	return n, b.content.Add(n)
}

// readTrailers reads the section into memory of its own.
func (b *body) readTrailers(n uint64) error {
	most := b.x.conn.server.cfg.MaxHeader
	var t assemble.Trailers
	t.Begin(most)
	if n > uint64(most) {
		return t.TooLarge()
	}
	section, err := b.x.r.payload(int(n))
	if err != nil {
		return err
	}
	switch _, err := qpack.Decode(nil, append([]byte(nil), section...), &t); {
	case err == qpack.ErrDecompression:
		return errDecompression
	case err != nil:
		return err
	}
	b.tail = true
	b.fields, err = t.Fields()
	return err
}

// fault ends what is broken, and makes of err what the handler is to see.
func (b *body) fault(err error) error {
	switch {
	case err == io.EOF:
		return err
	case b.cut.Load() && isTimeout(err):
		return errInterrupted
	}
	x := b.x
	e := &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body", Err: err}
	var f *fault
	var malformed *assemble.Error
	switch {
	case isTimeout(err):
		x.conn.server.count(errBodyTimeout.kind)
		e.Status, e.Reason = 408, errBodyTimeout.reason
		x.str.CancelRead(quic.StreamErrorCode(errBodyTimeout.code))
	case errors.As(err, &f):
		e.Reason = f.reason
		x.conn.fail(f)
	case errors.As(err, &malformed):
		e.Reason = malformed.Reason
		x.conn.server.count(kindMessage)
		x.str.CancelRead(codeMessage)
		x.str.CancelWrite(codeMessage)
		x.conn.wasted()
	}
	return e
}

// trailers are there once Read has returned io.EOF.
func (b *body) trailers() message.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != io.EOF {
		return nil
	}
	return b.fields
}

// endBody stops reading and ends the body's hold on the exchange.
func (x *exchange) endBody() {
	if x.body == nil {
		x.stopReading()
		return
	}
	x.str.CancelRead(codeNoError) // wakes who reads; means nothing after the end
	x.body.mu.Lock()
	defer x.body.mu.Unlock()
	x.body.x = nil
}
