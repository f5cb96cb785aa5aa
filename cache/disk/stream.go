package disk

import (
	"sync/atomic"
	"time"
)

// maxStreams bounds the bodies that are written as they come: each holds up to 1 MiB besides what is queued.
const maxStreams = 32

// Stream takes a body as it comes. It is used by one goroutine, and ended by Commit or Abort. Nothing of it is seen before Commit.
type Stream struct {
	s      *Store
	ref    partRef
	expiry uint32
	buf    []byte
	parts  uint32
	length uint64
	open   bool
	failed atomic.Bool
}

// Create begins a record whose body comes in pieces; nil when there are too many such, or the disk fails.
func (s *Store) Create(hash uint64, variant uint32, expires time.Time) *Stream {
	if s.State() != Ready {
		return nil
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return nil
	}
	s.queue.mu.Lock()
	s.queue.seq++
	seq := s.queue.seq
	s.queue.mu.Unlock()
	return &Stream{s: s, ref: partRef{hash, variant, seq}, expiry: seconds(expires), open: true}
}

// Write appends to the body. It never blocks: false when the disk does not keep up, and the record is given up.
func (w *Stream) Write(p []byte) bool {
	for len(p) > 0 && w.open {
		if w.buf == nil {
			w.buf = make([]byte, 0, partSize)
		}
		n := min(len(p), partSize-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == partSize && !w.emit() {
			w.Abort()
		}
	}
	return w.open
}

// emit queues a part.
func (w *Stream) emit() bool {
	if w.failed.Load() {
		return false
	}
	o := &op{key: w.ref.append(nil), body: [][]byte{w.buf}, size: int64(len(w.buf)) + headerSize, stream: w}
	o.header = header{kind: kindPart, hash: w.ref.hashOf(w.parts), part: w.parts, generation: w.ref.generation}
	w.length += uint64(len(w.buf))
	w.parts++
	w.buf = nil
	w.s.queue.mu.Lock()
	defer w.s.queue.mu.Unlock()
	if !w.s.queue.add(o) {
		w.s.meters.dropped.Inc()
		return false
	}
	return true
}

// Commit ends the body and queues the record. replaces is Object's.
func (w *Stream) Commit(key, meta []byte, replaces func(key, meta []byte) bool) bool {
	if !w.open {
		return false
	}
	if len(w.buf) > 0 && !w.emit() {
		w.Abort()
		return false
	}
	w.end()
	o := &op{key: key, meta: meta, size: int64(len(key)+len(meta)) + headerSize, replaces: replaces, stream: w}
	o.header = header{
		kind: kindHead, hash: w.ref.hash, variant: w.ref.variant, expires: w.expiry, part: w.parts, length: w.length, generation: w.ref.generation,
	}
	w.s.queue.mu.Lock()
	defer w.s.queue.mu.Unlock()
	if len(key) <= maxKey && len(meta) <= maxMeta && w.s.queue.add(o) {
		return true
	}
	w.s.drop(o)
	return false
}

// Abort gives the record up. It does nothing after Commit.
func (w *Stream) Abort() {
	if w.open {
		w.failed.Store(true)
		w.end()
	}
}

func (w *Stream) end() {
	w.open, w.buf = false, nil
	w.s.streams.Add(-1)
}

// Rewrite queues a new head for a record of [Get] with a body in parts, which stays where it is: false when the record has its body with it, or the
// head is dropped (it is deleted then).
func (s *Store) Rewrite(r *Record, key, meta []byte, expires time.Time) bool {
	if r.p.kind != kindHead {
		return false
	}
	o := &op{key: key, meta: meta, size: int64(len(key)+len(meta)) + headerSize}
	o.header = r.p.header
	o.header.expires = seconds(expires)
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.queue.add(o) {
		return true
	}
	s.drop(o)
	return false
}
