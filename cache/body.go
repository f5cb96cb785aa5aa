package cache

import (
	"io"
	"sync"
	"sync/atomic"

	"nearcast/cache/disk"
	"nearcast/proxy/message"
)

const (
	// firstChunk is the first piece of a body of unknown length, maxChunk the largest of any.
	firstChunk = 16 << 10
	maxChunk   = 64 << 10
)

// phase is where a body is in its life:
//
//	arriving ──▶ complete (frozen: read without a lock from then on)
//	   └──▶ passing ──▶ ended
//	   └──▶ ended (with an error)
type phase uint8

const (
	arriving phase = iota
	passing        // not kept: chunks are let go once every reader has left them
	complete
	ended
)

// chunk is a piece of a body. Its bytes never change; bytes are only added, up to its capacity.
type chunk struct {
	data    []byte
	readers int // that are in it; counted until the body is complete
}

func (c *chunk) full() bool { return len(c.data) == cap(c.data) }

// body is the shared body of an object: one writer, any number of readers.
type body struct {
	budget *budget
	source *disk.Record // of a body that is on disk only; it has no chunks then

	// frozen is set when chunks and trailers have reached their final state.
	frozen atomic.Bool
	// storing is set while it is open whether the body will be stored: its readers get its end when that is decided, so that a client
	// which has the whole finds it in the store.
	storing atomic.Bool
	// pins counts who holds the body without the lock. detach takes gone off it, and nobody more gets in.
	pins atomic.Int64

	mu       sync.Mutex
	chunks   []chunk
	first    int   // the number of chunks let go before chunks[0]
	size     int64 // bytes written
	charged  int64 // bytes taken from the budget
	credit   int64 // of these, what a passing body has free for its next chunk
	readers  int   // open readers that have not been cut off
	ahead    int   // of these, the ones that wait for the chunk after the last
	phase    phase
	detached bool // no longer in the index: charged goes back when the last reader closes
	err      error
	trailers message.Fields
	changed  chan struct{} // closed at every change; nil while nobody waits

	room chan struct{} // capacity one: wakes the writer
}

// newBody takes over a charge of n bytes for the first chunk.
func newBody(b *budget, n int64) *body {
	body := &body{budget: b, charged: n, room: make(chan struct{}, 1)}
	if n > 0 {
		body.chunks = []chunk{{data: make([]byte, 0, n)}}
	}
	return body
}

// open places a new reader at the beginning; false when that is gone.
func (b *body) open(r *Reader) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first > 0 {
		return false
	}
	b.readers++
	b.enter(0)
	return true
}

// enter counts a reader into chunk i of those held.
func (b *body) enter(i int) {
	if i < len(b.chunks) {
		b.chunks[i].readers++
	} else {
		b.ahead++
	}
}

func (b *body) leave(i int) {
	if i < len(b.chunks) {
		b.chunks[i].readers--
	} else {
		b.ahead--
	}
}

// close takes a reader out.
func (b *body) close(r *Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.index < b.first {
		return // it was cut off, and counted out then
	}
	b.readers--
	if !b.frozen.Load() {
		b.leave(r.index - b.first)
		b.letGo()
	}
	b.settle()
	b.wakeWriter()
}

// next moves r to the next bytes that are there. Without any it returns a channel to wait on.
func (b *body) next(r *Reader) (p []byte, wait <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		i := r.index - b.first
		if i < 0 {
			return nil, nil, ErrLagging
		}
		over := b.phase >= complete
		if i < len(b.chunks) {
			c := &b.chunks[i]
			if r.off < len(c.data) {
				p, r.off = c.data[r.off:], len(c.data)
				return p, nil, nil
			}
			if i+1 < len(b.chunks) || c.full() || over {
				b.leave(i)
				b.enter(i + 1)
				r.index, r.off = r.index+1, 0
				b.letGo()
				continue
			}
		}
		if over {
			return nil, nil, b.end()
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		return nil, b.changed, nil
	}
}

// end is what a reader gets after the last byte.
func (b *body) end() error {
	if b.err != nil {
		return b.err
	}
	return io.EOF
}

// charge takes over a charge of n bytes for what goes with the body, and returns what it had before.
func (b *body) charge(n int64) (before int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charged += n
	return b.charged - n
}

// settle gives the charge back once nobody holds the body any more.
func (b *body) settle() {
	if b.detached && b.readers == 0 && b.pins.Load() == -gone {
		b.budget.release(b.charged)
		b.charged, b.credit = 0, 0
	}
}

func (b *body) wakeWriter() {
	select {
	case b.room <- struct{}{}:
	default:
	}
}

func (b *body) wakeReaders() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// fill appends what fits into the last chunk, and returns the rest.
func (b *body) fill(p []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) == 0 {
		return p
	}
	c := &b.chunks[len(b.chunks)-1]
	n := min(len(p), cap(c.data)-len(c.data))
	if n == 0 {
		return p
	}
	c.data = append(c.data, p[:n]...)
	b.size += int64(n)
	b.wakeReaders()
	return p[n:]
}

// grow adds a chunk of n bytes, charged already. Readers that were ahead are in it.
func (b *body) grow(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charged += n
	b.add(n)
}

func (b *body) add(n int64) {
	b.chunks = append(b.chunks, chunk{data: make([]byte, 0, n), readers: b.ahead})
	b.ahead = 0
}

// decided lets readers have the end.
func (b *body) decided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.storing.Store(false)
	b.wakeReaders()
}

// undecided is a channel to wait on while readers may not have the end yet; else nil.
func (b *body) undecided() <-chan struct{} {
	if !b.storing.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.storing.Load() {
		return nil
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// finish ends a body that is not stored: with err, or well.
func (b *body) finish(err error, trailers message.Fields) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase, b.err, b.trailers = ended, err, trailers
	b.storing.Store(false)
	b.wakeReaders()
}

// keep ends a body that will be stored; decided must follow. Its last chunk is cut to size; it takes over the charge for the trailers.
func (b *body) keep(trailers message.Fields, charge int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase, b.trailers = complete, trailers
	b.charged += charge
	b.trim()
	b.frozen.Store(true)
	b.wakeReaders()
}

// keepCut is keep for a body that broke off: who reads beyond what there is gets err.
func (b *body) keepCut(err error) {
	b.mu.Lock()
	b.err = err
	b.mu.Unlock()
	b.keep(nil, 0)
}

// trim gives back the unused end of the last chunk.
func (b *body) trim() {
	last := len(b.chunks) - 1
	if last < 0 {
		return
	}
	c := &b.chunks[last]
	spare := int64(cap(c.data) - len(c.data))
	if spare == 0 {
		return
	}
	if len(c.data) == 0 {
		b.chunks = b.chunks[:last]
	} else {
		c.data = append(make([]byte, 0, len(c.data)), c.data...)
	}
	b.charged -= spare
	b.budget.release(spare)
}

// detach takes the body out of the store's hands.
func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.detached {
		b.detached = true
		b.pins.Add(-gone)
		b.settle()
	}
}

// inUse reports whether somebody reads.
func (b *body) inUse() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readers > 0 || b.pins.Load() > 0
}

// gone is more than there can be pins.
const gone = 1 << 40

// pin holds a body that is in the index; false when it has left that.
func (b *body) pin() bool {
	if b.pins.Add(1) > 0 {
		return true
	}
	b.unpin()
	return false
}

// unpin lets go. The last one to hold what has left the index gives its charge back: whoever sees the number that detach left has the lock
// after detach.
func (b *body) unpin() {
	if b.pins.Add(-1) == -gone {
		b.mu.Lock()
		b.settle()
		b.mu.Unlock()
	}
}
