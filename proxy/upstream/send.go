package upstream

import (
	"io"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
)

// sender copies a request's body to the origin, while its exchange waits for the response: that may come early.
type sender struct {
	c       *conn
	body    io.Reader
	left    int64 // -1: chunked
	trailer func() message.Fields
	wait    time.Duration // ResponseTimeout

	stop atomic.Bool // no more is to be sent
	last atomic.Bool // the last byte is being sent, or was
	done chan struct{}

	// valid when done is closed
	fault *message.Error // why the exchange must fail
	whole bool           // everything was sent
}

func newSender(c *conn, a *Attempt, wait time.Duration) *sender {
	return &sender{c: c, body: a.Body, left: a.bodyLength(), trailer: a.Request.Trailers, wait: wait, done: make(chan struct{})}
}

func (s *sender) run() {
	defer close(s.done)
	buf := getBuffer()
	defer putBuffer(buf)
	var err error
	if s.left < 0 {
		err = s.chunks(buf[:])
	} else {
		err = s.bytes(buf[:])
	}
	switch {
	case s.stop.Load():
	case err == nil:
		s.whole = true
		s.c.awaitAnswer(after(s.wait))
	default:
		s.failed(err)
	}
}

// failed makes the exchange, which waits for the response, notice.
func (s *sender) failed(err error) {
	switch e := err.(type) {
	case *message.Error:
		s.fault = e
	default:
		if !isTimeout(err) {
			// The origin does not take more. It may have answered before, which is then there to be read.
			s.c.awaitAnswer(after(s.wait))
			return
		}
		s.fault = originFault(504, reasonTimeout, err)
	}
	s.c.interrupt()
}

// bytes sends a body of known length.
func (s *sender) bytes(buf []byte) error {
	for s.left > 0 {
		n, err := readBody(s.body, buf[:min(int64(len(buf)), s.left)])
		if s.stop.Load() {
			return nil
		}
		s.left -= int64(n)
		if n > 0 {
			if err := s.write(buf[:n], s.left == 0); err != nil {
				return err
			}
		}
		if err != nil && s.left > 0 {
			return bodyError(err)
		}
	}
	return nil
}

// chunkRoom is what is kept free in front of a chunk for its size, and chunkEnd behind it.
const chunkRoom, chunkEnd = 6, 2

// chunks sends a body of unknown length, and the trailers (RFC 9112 §7.1).
func (s *sender) chunks(buf []byte) error {
	for {
		n, err := readBody(s.body, buf[chunkRoom:len(buf)-chunkEnd])
		if s.stop.Load() {
			return nil
		}
		if n > 0 {
			start := putChunkSize(buf[:chunkRoom], n)
			copy(buf[chunkRoom+n:], "\r\n")
			if err := s.write(buf[start:chunkRoom+n+chunkEnd], false); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return s.end(buf)
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// putChunkSize writes the size line at the end of room, and returns where it begins.
func putChunkSize(room []byte, n int) int {
	i := len(room) - 2
	copy(room[i:], "\r\n")
	for ; n > 0; n >>= 4 {
		i--
		room[i] = "0123456789abcdef"[n&15]
	}
	return i
}

// end sends the last chunk and the trailer section.
func (s *sender) end(buf []byte) error {
	b := append(buf[:0], "0\r\n"...)
	if s.trailer != nil {
		var ok bool
		if b, ok = appendFields(b, s.trailer(), held); !ok {
			return unsendable(errField)
		}
	}
	return s.write(append(b, "\r\n"...), true)
}

func (s *sender) write(b []byte, last bool) error {
	s.c.writeBy(after(s.wait))
	s.last.Store(last)
	_, err := s.c.Conn.Write(b)
	return err
}

// lastWait is how long a response that is there already waits for the request's last bytes to be taken.
const lastWait = time.Second

// finish ends the sending and waits until nothing of it goes on. It reports whether everything was sent; if not, the connection is closed.
func (s *sender) finish(keep bool) bool {
	if keep && s.last.Load() {
		s.c.writeBy(after(lastWait))
		<-s.done
		if s.whole {
			return true
		}
	}
	s.stop.Store(true)
	s.c.Conn.Close()
	if i, ok := s.body.(message.Interrupter); ok {
		select {
		case <-s.done:
		default:
			i.Interrupt()
		}
	}
	<-s.done
	return false
}
