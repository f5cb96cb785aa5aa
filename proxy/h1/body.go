package h1

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// Errors of a request body.
var (
	errOver     = &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body read too late"}
	errTooSlow  = &message.Error{Blame: message.BlameClient, Status: 408, Reason: "request body too slow"}
	errCutShort = &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body cut short"}
)

// body is a request's. Whoever reads it may still be at it when the handler has returned, as the transport is whose origin answered
// early: from then on it gets an error. So it is never used again for another request.
type body struct {
	c *conn

	mu    sync.Mutex // held during a read
	wire  wire.Body
	err   error // of a read, not io.EOF
	ended bool  // the same as over, under this lock

	end     sync.Mutex // guards what follows
	over    bool       // the handler has returned
	done    bool       // all has been read
	stopped bool       // the connection's deadline is in the past

	want sync.Mutex // guards wait; held while 100 is sent
	wait bool       // the client waits for 100, or its refusal
}

func newBody(c *conn, head *wire.RequestHead, length int64) *body {
	b := &body{c: c, wait: head.Continue}
	framing := wire.ByLength
	if head.Chunked {
		framing = wire.Chunked
	}
	b.wire.Reset(&c.in, framing, length, false, c.srv.lim)
	c.in.waited, c.in.moved = 0, 0
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended || b.c.in.stop.Load():
		return 0, errOver
	case b.err != nil:
		return 0, b.err
	case b.wire.Ended():
		return 0, io.EOF
	}
	if err := b.proceed(); err != nil {
		b.err = err
		return 0, err
	}
	n, err := b.wire.Read(p)
	switch {
	case b.wire.Ended():
		b.readAll()
	case err != nil && b.c.in.stop.Load():
		err = errOver
	case err != nil:
		b.err = b.explain(err)
		err = b.err
	}
	return n, err
}

// readAll follows the last read: from then on the watcher has the connection.
func (b *body) readAll() {
	b.end.Lock()
	b.done = true
	if b.stopped {
		b.c.in.deadline = past // as it was set
	}
	b.end.Unlock()
	b.c.watch.arm()
}

// explain says whose fault an error is.
func (b *body) explain(err error) error {
	var m *message.Error
	switch {
	case errors.As(err, &m):
		b.c.count(errBody)
		return m
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.c.count(errBodySlow)
		return errTooSlow
	}
	b.c.count(errBodyEnd)
	return &message.Error{Blame: errCutShort.Blame, Status: errCutShort.Status, Reason: errCutShort.Reason, Err: err}
}

// proceed tells the client that waits for it to send the body (RFC 9110 §10.1.1).
func (b *body) proceed() error {
	b.want.Lock()
	defer b.want.Unlock()
	if !b.wait {
		return nil
	}
	b.wait = false
	b.c.out.setDeadline(time.Now(), 0, 0, 0)
	if _, err := b.c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
		b.c.out.sent(0, err) // a part of it may have been: nothing can follow
		return notTaken(err)
	}
	return nil
}

// settle says that the response begins. From then on 100 is not sent. It returns true when the client was still waiting for it. A nil body
// is none.
func (b *body) settle() (waiting bool) {
	if b == nil {
		return false
	}
	b.want.Lock()
	defer b.want.Unlock()
	waiting, b.wait = b.wait, false
	return waiting
}

// hopeless reports whether so much of the body is left that the connection had better end. It is asked while somebody may be reading.
func (b *body) hopeless() bool {
	if b == nil || !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.err != nil || b.wire.Left() > maxDrain
}

// Interrupt implements message.Interrupter.
func (b *body) Interrupt() {
	b.end.Lock()
	defer b.end.Unlock()
	if b.over || b.done {
		return // the connection is another exchange's, or the watcher's
	}
	b.stopped = true
	b.c.in.stop.Store(true)
	_ = b.c.nc.SetReadDeadline(past)
}

// leave ends the body with the exchange. It reports whether the client may still have something of it to send. A nil body is none.
func (b *body) leave() (unread bool) {
	if b == nil {
		return false
	}
	if !b.mu.TryLock() {
		b.Interrupt() // whoever reads is to come back
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.ended = true
	b.end.Lock()
	defer b.end.Unlock()
	b.over = true
	if b.stopped {
		b.c.in.stop.Store(false)
		if !b.done {
			b.c.in.deadline = past // as it was set
		}
	}
	return !b.wire.Ended()
}

// drain takes what is left of a body that nobody wants. It returns false when the connection can't go on.
func (c *conn) drain(b *body) bool {
	if b.err != nil {
		return false
	}
	c.in.until = time.Now().Add(lingerBody)
	defer func() { c.in.until = time.Time{} }()
	buf := getBuffer(buf4K)
	defer putBuffer(buf)
	for left := maxDrain; left >= 0; {
		n, err := b.wire.Read(buf)
		if err != nil {
			return b.wire.Ended()
		}
		left -= n
	}
	return false
}

func (b *body) trailers() message.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return nil
	}
	return b.wire.Trailers()
}
