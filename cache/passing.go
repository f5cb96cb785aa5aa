package cache

import "time"

// A body that passes through is one that turned out too large to store while it was arriving. It goes on to the readers it has, who
// share a window: a chunk is let go when the last of them has left it, and its place in the budget is the credit for the next.

const (
	// window bounds what a body that passes through holds.
	window = 1 << 20
	// stallLimit is how long the slowest reader may hold up a body that passes through without finishing a chunk.
	stallLimit = 10 * time.Second
)

// pass turns the body into one that is not kept.
func (b *body) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase = passing
	b.storing.Store(false)
	b.wakeReaders()
	b.letGo()
}

// growPassing adds a chunk from the credit that readers have left behind, and waits for some if need be.
func (b *body) growPassing() error {
	stall := time.NewTimer(stallLimit)
	defer stall.Stop()
	for waited := -1; ; {
		b.mu.Lock()
		if b.readers == 0 {
			b.mu.Unlock()
			return ErrAbandoned
		}
		if b.credit > 0 {
			n := min(b.credit, maxChunk)
			b.credit -= n
			b.add(n)
			b.mu.Unlock()
			return nil
		}
		oldest := b.first
		b.mu.Unlock()
		if oldest != waited { // the slowest reader has moved on
			waited = oldest
			stall.Reset(stallLimit)
		}
		select {
		case <-b.room:
		case <-stall.C:
			b.cut(oldest)
			waited = -1
		}
	}
}

// cut ends the readers that are still in the chunk of that number.
func (b *body) cut(number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first != number || len(b.chunks) == 0 || b.readers == 1 { // which holds up nobody but itself
		return
	}
	b.readers -= b.chunks[0].readers
	b.chunks[0].readers = 0
	b.letGo()
	b.wakeReaders()
}

// letGo drops the chunks at the front that a passing body no longer needs.
func (b *body) letGo() {
	if b.phase != passing {
		return
	}
	for len(b.chunks) > 0 && b.chunks[0].readers == 0 && (len(b.chunks) > 1 || b.chunks[0].full()) {
		freed := int64(cap(b.chunks[0].data))
		// What was held for storing shrinks to the window by half of what readers leave behind, so that the body goes on meanwhile.
		excess := min(max(b.charged-window, 0), freed/2)
		b.charged -= excess
		b.credit += freed - excess
		b.budget.release(excess)
		b.chunks[0].data = nil
		b.chunks = b.chunks[1:]
		b.first++
	}
	b.wakeWriter()
}
