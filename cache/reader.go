package cache

import (
	"context"
	"io"
)

// Reader reads a body at its own pace. It is used by one goroutine.
type Reader struct {
	ctx    context.Context
	body   *body
	index  int   // the chunk's number
	off    int   // in the chunk
	skip   int64 // bytes before the range
	left   int64 // bytes of the range that are still to come
	tail   int64 // bytes up to the end of a body of known length
	short  bool  // the range ends before the body does
	rest   []byte
	closed bool
	stored *storedReader // of a body that is on disk only
}

// Next returns the next bytes, blocking until some have arrived; io.EOF at the end. The last of them come when the body has been stored, or will not
// be: what a client has the whole of is then found by its next request. The slice is shared and must not be modified.
func (r *Reader) Next() ([]byte, error) {
	if r.stored != nil {
		return r.nextStored()
	}
	p, err := r.arrived()
	r.tail -= int64(len(p))
	if r.tail != 0 && err == nil || r.short || err != nil && err != io.EOF {
		return p, err
	}
	for wait := r.body.undecided(); wait != nil; wait = r.body.undecided() {
		select {
		case <-wait:
		case <-r.ctx.Done():
			return nil, context.Cause(r.ctx)
		}
	}
	return p, err
}

// arrived is Next without that wait.
func (r *Reader) arrived() ([]byte, error) {
	for r.left > 0 {
		p, wait, err := r.advance()
		if err != nil {
			return nil, err
		}
		if wait != nil {
			select {
			case <-wait:
			case <-r.ctx.Done():
				return nil, context.Cause(r.ctx)
			}
			continue
		}
		skipped := min(r.skip, int64(len(p)))
		r.skip -= skipped
		p = p[skipped:]
		p = p[:min(int64(len(p)), r.left)]
		r.left -= int64(len(p))
		if len(p) > 0 {
			return p, nil
		}
	}
	return nil, io.EOF
}

// Ready reports whether Next would return at once: what is buffered on the way to the client had better be sent before a wait.
func (r *Reader) Ready() bool {
	b := r.body
	held := b.storing.Load() && !r.short // what comes next may be the end
	if held && r.tail >= 0 || r.left <= 0 || b.frozen.Load() {
		return !held
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := r.index - b.first
	if i < 0 || b.phase >= complete || i+1 < len(b.chunks) {
		return b.phase != complete || !held
	}
	return i < len(b.chunks) && r.off < len(b.chunks[i].data)
}

// advance is body.next, without the lock when the body is complete.
func (r *Reader) advance() (p []byte, wait <-chan struct{}, err error) {
	b := r.body
	if !b.frozen.Load() {
		return b.next(r)
	}
	for ; r.index < len(b.chunks); r.index, r.off = r.index+1, 0 {
		if data := b.chunks[r.index].data; r.off < len(data) {
			p, r.off = data[r.off:], len(data)
			return p, nil, nil
		}
	}
	return nil, nil, b.end()
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		next, err := r.Next()
		if err != nil {
			return 0, err
		}
		r.rest = next
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, without a buffer in between.
func (r *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		p := r.rest
		if r.rest = nil; len(p) == 0 {
			if p, err = r.Next(); err == io.EOF {
				return total, nil
			} else if err != nil {
				return total, err
			}
		}
		n, err := w.Write(p)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// Close lets go of the body. Slices that Next returned stay valid.
func (r *Reader) Close() error {
	if !r.closed {
		r.closed = true
		r.body.close(r)
	}
	return nil
}
