package upstream

import (
	"errors"
	"io"

	"nearcast/proxy/message/wire"
)

var errBodyClosed = errors.New("the response's body is closed")

// Read reads from the response's body.
func (x *exchange) Read(p []byte) (int, error) {
	if x.over {
		return 0, x.ended()
	}
	n, err := x.body.Read(p)
	switch {
	case x.body.Ended() && x.head.Framing == wire.UntilClose && x.c.below != nil && x.c.below.ended: // RFC 9112 §9.8
		return n, x.broken(io.ErrUnexpectedEOF)
	case x.body.Ended():
		x.trailers = x.body.Trailers()
		x.whole()
		return n, io.EOF
	case err != nil:
		return n, x.broken(err)
	}
	return n, nil
}

// ended is what a Read gets after the end.
func (x *exchange) ended() error {
	if x.failed != nil {
		return x.failed
	}
	return io.EOF
}

// Close ends the exchange. The connection is kept when all of the body has come already.
func (x *exchange) Close() error {
	if x.over {
		return nil
	}
	x.failed = errBodyClosed
	if x.drain() {
		x.whole()
	} else {
		x.end(closeUnread)
	}
	return nil
}

// drain reads the rest of the body, if it can without waiting.
func (x *exchange) drain() bool {
	if x.head.Framing == wire.UntilClose {
		return false
	}
	x.hasty = true
	buf := getBuffer()
	defer putBuffer(buf)
	for !x.body.Ended() {
		if _, err := x.body.Read(buf[:]); err != nil {
			break
		}
	}
	return x.body.Ended()
}

var errHasty = errors.New("more of the body is to come")

// broken ends the exchange with its body incomplete.
func (x *exchange) broken(err error) error {
	send := x.send
	x.end(closeFault)
	if send != nil && send.fault != nil && x.ctx.Err() == nil {
		err = send.fault
	}
	x.failed = bodyFault(x.ctx, err)
	return x.failed
}

// source is the exchange as the body sees it.
type source exchange

func (s *source) Buffered() []byte { return s.b[s.r:s.w] }

func (s *source) Consume(n int) { s.r += n }

func (s *source) Fill() error {
	s.r = 0
	n, err := s.Read(s.b)
	s.w = n
	return err
}

// Read is one wait for the connection.
func (s *source) Read(p []byte) (int, error) {
	if s.hasty {
		return 0, errHasty
	}
	if d := s.o.cfg.ReadTimeout; d > 0 || !s.unbounded {
		s.c.readBy(after(d))
		s.unbounded = d <= 0
	}
	for {
		n, err := s.c.Conn.Read(p)
		if n > 0 {
			return n, nil // an error comes again
		}
		if err != nil {
			return 0, err
		}
	}
}
