package h3

import (
	"errors"
	"io"
	"os"

	"nearcast/proxy/h3/qpack"
)

// Frame types (RFC 9114 §7.2, RFC 9218 §7.2).
const (
	frameData                 = 0x00
	frameHeaders              = 0x01
	frameCancelPush           = 0x03
	frameSettings             = 0x04
	framePushPromise          = 0x05
	frameGoAway               = 0x07
	frameMaxPushID            = 0x0d
	framePriorityUpdate       = 0xf0700
	framePriorityUpdateOfPush = 0xf0701
)

// What a stream may carry that means nothing to us, before it is taken for an attack.
const (
	maxJunkFrames = 256      // unknown frames, and DATA frames without data
	maxJunkBytes  = 64 << 10 // of one unknown frame
)

// waiter bounds the waits of a reader.
type waiter interface {
	// before is called ahead of a read that may wait.
	before()
	// after is called behind it, with what it brought. True lets a read that timed out be tried again.
	after(n int, timedOut bool) (again bool)
}

// reader cuts a stream into frames. Everything up to pinned has been handed out and stays as it is.
type reader struct {
	in   io.Reader
	wait waiter // may be nil

	buf          []byte // its whole length may be read into
	pinned, r, w int
	eof          bool
	junk         int
	left         uint64 // of the current DATA frame

	peeked     bool // the frame header of the next call of next was read already
	peekedType uint64
	peekedLen  uint64
}

// read reads into p. At the stream's end it sets eof and returns 0 and no error.
func (r *reader) read(p []byte) (int, error) {
	for {
		if r.wait != nil {
			r.wait.before()
		}
		n, err := r.in.Read(p)
		timedOut := err != nil && errors.Is(err, os.ErrDeadlineExceeded)
		again := r.wait != nil && r.wait.after(n, timedOut)
		switch {
		case err == io.EOF:
			r.eof = true
			return n, nil
		case n > 0:
			return n, nil // an error comes again
		case timedOut && again:
		case err != nil:
			return 0, err
		}
	}
}

// more reads something into the window, unless the stream has ended. want is the size that the window should get in the end.
func (r *reader) more(want int) error {
	if r.w == len(r.buf) || r.r+want > len(r.buf) {
		r.room(want)
	}
	n, err := r.read(r.buf[r.w:])
	r.w += n
	return err
}

// room makes space in the window, for want octets in all unless that is much more than what has come so far: memory follows what was
// received, not what was announced.
func (r *reader) room(want int) {
	have := r.w - r.r
	size := min(max(want, 512), max(2*have, 4<<10))
	if len(r.buf)-r.pinned >= size {
		copy(r.buf[r.pinned:], r.buf[r.r:r.w])
	} else {
		b := make([]byte, size)
		copy(b, r.buf[r.r:r.w])
		r.buf, r.pinned = b, 0
	}
	r.r, r.w = r.pinned, r.pinned+have
}

// next reads a frame's type and length. io.EOF is the stream's end between two frames.
func (r *reader) next() (typ, length uint64, err error) {
	if r.peeked {
		r.peeked = false
		return r.peekedType, r.peekedLen, nil
	}
	for {
		p := r.buf[r.r:r.w]
		if typ, n := varint(p); n > 0 {
			if length, m := varint(p[n:]); m > 0 {
				r.r += n + m
				return typ, length, nil
			}
		}
		switch {
		case !r.eof:
		case len(p) == 0:
			return 0, 0, io.EOF
		default:
			return 0, 0, errTruncated
		}
		if err := r.more(16); err != nil {
			return 0, 0, err
		}
	}
}

// unread gives a frame's type and length back to next.
func (r *reader) unread(typ, length uint64) {
	r.peeked, r.peekedType, r.peekedLen = true, typ, length
}

// payload returns the next n octets, which stay as they are as long as the reader's buffer is not used for another stream.
func (r *reader) payload(n int) ([]byte, error) {
	for r.w-r.r < n {
		if r.eof {
			return nil, errTruncated
		}
		if err := r.more(n); err != nil {
			return nil, err
		}
	}
	p := r.buf[r.r : r.r+n : r.r+n]
	r.r += n
	r.pinned = r.r
	return p, nil
}

// skip reads over a frame that means nothing to us (RFC 9114 §9), within bounds.
func (r *reader) skip(n uint64) error {
	if r.junk++; r.junk > maxJunkFrames || n > maxJunkBytes {
		return errLoad
	}
	for n > 0 {
		if have := uint64(r.w - r.r); have > 0 {
			k := min(have, n)
			r.r += int(k)
			n -= k
			continue
		}
		if r.eof {
			return errTruncated
		}
		if err := r.more(512); err != nil {
			return err
		}
	}
	return nil
}

// data reads from the current DATA frame, of which something is left.
func (r *reader) data(p []byte) (int, error) {
	if uint64(len(p)) > r.left {
		p = p[:r.left]
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	if n == 0 && len(p) > 0 {
		if r.eof {
			return 0, errTruncated
		}
		var err error
		if n, err = r.read(p); err != nil {
			return n, err
		}
		if n == 0 {
			return 0, errTruncated // the end
		}
	}
	r.left -= uint64(n)
	return n, nil
}

// onRequestStream says what to do with a frame on a request stream that is neither DATA nor HEADERS: nil is to skip it.
func onRequestStream(typ uint64) error {
	switch typ {
	case frameCancelPush, frameSettings, framePushPromise, frameGoAway, frameMaxPushID, framePriorityUpdate, framePriorityUpdateOfPush:
		return errUnexpected
	}
	return ofHTTP2(typ)
}

// ofHTTP2 refuses the types that RFC 9114 §7.2.8 reserves because they mean something in HTTP/2.
func ofHTTP2(typ uint64) error {
	switch typ {
	case 0x02, 0x06, 0x08, 0x09:
		return errUnexpected
	}
	return nil
}

// varint reads a variable-length integer (RFC 9000 §16); n is 0 when p is too short.
func varint(p []byte) (v uint64, n int) {
	if len(p) == 0 {
		return 0, 0
	}
	n = 1 << (p[0] >> 6)
	if len(p) < n {
		return 0, 0
	}
	v = uint64(p[0] & 0x3f)
	for _, c := range p[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

func appendVarint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, 0x40|byte(v>>8), byte(v))
	case v < 1<<30:
		return append(dst, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return append(dst, 0xc0|byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// beginHeaders begins a HEADERS frame. Its length is written by endHeaders, in two octets: integers need not be short (RFC 9000 §16).
func beginHeaders(dst []byte) (out []byte, at int) {
	return qpack.AppendPrefix(append(dst, frameHeaders, 0x40, 0)), len(dst)
}

func endHeaders(dst []byte, at int) []byte {
	n := len(dst) - at - 3
	if n < 1<<14 {
		dst[at+1], dst[at+2] = 0x40|byte(n>>8), byte(n)
		return dst
	}
	dst = append(dst, 0, 0)
	copy(dst[at+5:], dst[at+3:len(dst)-2])
	dst[at+1], dst[at+2], dst[at+3], dst[at+4] = 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return dst
}
