package disk

import (
	"fmt"
	"slices"
	"time"
)

const (
	flushAt  = 256 << 10 // what is written at once
	firstTry = time.Second
	lastTry  = time.Minute
	syncTime = time.Second // after which deletions are synced
)

// writer is what the goroutine that writes has for itself.
type writer struct {
	next    uint32 // the number of the next segment
	active  *segment
	tail    int64    // the bytes of it that are written
	buf     []byte   // to be written next
	list    []listed // of active, buf's included
	written int      // of list
	pending []pending
	current *op // being put into buf
	moving  []byte
	limit   int64 // the budget, or less while the disk has not so much
	dirty   bool  // there are deletions that could not be written, and the directory says so
}

// pending is a record in buf, which is made known once it is written.
type pending struct {
	listed
	op   *op   // nil: a part, a deletion on the way, or a record that is moved
	from place // of which
}

// write is the writer's goroutine.
func (s *Store) write() {
	defer close(s.stop)
	<-s.loaded
	try, well := firstTry, s.now()
	for {
		if err := s.drain(); err != nil {
			if s.now().Sub(well) > lastTry {
				try = firstTry
			}
			s.fail(err)
			if !s.recover(&try) {
				return
			}
			well = s.now()
			continue
		}
		if s.w.dirty {
			s.unmark()
		}
		select {
		case <-s.queue.wake:
		case <-s.closing:
			if err := s.drain(); err != nil {
				s.fail(err)
			}
			s.leave()
			return
		}
	}
}

// leave seals what has been written.
func (s *Store) leave() {
	if err := s.sealActive(); err != nil {
		s.fail(err)
	}
	s.queue.mu.Lock()
	for _, o := range s.queue.restore() {
		s.drop(o)
	}
	lost := s.queue.owes()
	s.queue.mu.Unlock()
	if !lost {
		return
	}
	if err := s.removeAll(); err != nil { // what was deleted must not be back
		s.log.Error("the disk cache could not write its deletions: empty its directory before the next start", "error", err)
	}
}

// drain writes what is queued, until nothing is.
func (s *Store) drain() error {
	if err := s.failed.Swap(nil); err != nil {
		return *err
	}
	for {
		o := s.queue.take()
		if o == nil {
			return s.flush()
		}
		if err := s.apply(o); err != nil {
			return err
		}
	}
}

func (s *Store) apply(o *op) error {
	w := &s.w
	w.current = o
	defer func() { w.current = nil }()
	switch {
	case o.flushed != nil:
		if err := s.flush(); err != nil {
			return err
		}
		close(o.flushed)
		return nil
	case o.wipe:
		return s.removeAll()
	case s.isGone(o) || o.stream != nil && o.stream.failed.Load():
		o.done()
		return nil
	}
	if o.replaces != nil {
		if err := s.replaceOthers(o); err != nil {
			return err
		}
	}
	if o.kind == kindObject && o.length > partSize {
		return s.appendParts(o)
	}
	err := s.append(o, &o.header, o.key, o.meta, o.body)
	o.done()
	return err
}

func (s *Store) isGone(o *op) bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return o.gone
}

// replaceOthers deletes the variants that o makes obsolete.
func (s *Store) replaceOthers(o *op) error {
	if slices.ContainsFunc(s.w.pending, func(p pending) bool { return p.hash == o.hash }) {
		if err := s.flush(); err != nil {
			return err
		}
	}
	for _, f := range s.index.find(nil, o.hash, kindObject) {
		if f.variant == o.variant {
			continue
		}
		r, err := s.open(nil, o.hash, f)
		if err == nil && !o.replaces(r.Key, r.Meta) {
			continue
		}
		s.index.remove(o.hash, kindObject, f.place)
		h := header{kind: kindReplace, hash: o.hash, variant: f.variant, seq: o.seq}
		if err := s.append(nil, &h, nil, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// appendParts writes a large body and its head.
func (s *Store) appendParts(o *op) error {
	defer o.done()
	ref := partRef{o.hash, o.variant, o.seq}
	key, parts := ref.append(nil), uint32(0)
	var part [][]byte
	size := 0
	emit := func() error {
		h := header{kind: kindPart, seq: o.seq, hash: ref.hashOf(parts), part: parts, generation: o.seq}
		err := s.append(nil, &h, key, nil, part)
		part, size, parts = part[:0], 0, parts+1
		return err
	}
	for _, p := range o.body {
		for len(p) > 0 {
			n := min(len(p), partSize-size)
			part, size, p = append(part, p[:n]), size+n, p[n:]
			if size == partSize {
				if err := emit(); err != nil {
					return err
				}
			}
		}
	}
	if size > 0 {
		if err := emit(); err != nil {
			return err
		}
	}
	h := o.header
	h.kind, h.part, h.generation = kindHead, parts, o.seq
	return s.append(o, &h, o.key, o.meta, nil)
}

// append puts a record into the buffer. o is published with it; nil for what only belongs to an op.
func (s *Store) append(o *op, h *header, key, meta []byte, body [][]byte) error {
	w := &s.w
	h.keyLen, h.metaLen, h.bodyLen = uint32(len(key)), uint32(len(meta)), 0
	for _, p := range body {
		h.bodyLen += uint32(len(p))
	}
	if err := s.room(h.size()); err != nil {
		return err
	}
	h.segment = uint64(w.active.number)
	at := w.tail + int64(len(w.buf))
	w.buf = appendRecord(w.buf, h, key, meta, body)
	s.note(pending{listed: listed{h.hash, h.seq, w.placeAt(at, h.size()), h.variant, h.expires, h.kind}, op: o})
	s.meters.written.Add(h.size())
	if len(w.buf) >= flushAt {
		return s.flush()
	}
	return nil
}

func (w *writer) placeAt(at int64, size int) place {
	return place{w.active.number, uint32(at / align), uint32(size)}
}

func (s *Store) note(p pending) {
	s.w.list = append(s.w.list, p.listed)
	s.w.pending = append(s.w.pending, p)
}

// room makes sure that a record fits into the active segment.
func (s *Store) room(size int) error {
	w := &s.w
	if w.active != nil && w.tail+int64(len(w.buf)+size) <= s.segmentSize && len(w.list) < s.listLimit {
		return nil
	}
	return s.rotate()
}

// flush writes the buffer, and makes known what it holds.
func (s *Store) flush() error {
	w := &s.w
	if len(w.buf) > 0 {
		if err := writeFull(w.active.file, w.buf, w.tail); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		w.tail += int64(len(w.buf))
		w.written = len(w.list)
		if cap(w.buf) > 4*flushAt {
			w.buf = nil
		}
		w.buf = w.buf[:0]
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	for i := range w.pending {
		s.publish(&w.pending[i])
	}
	w.settle()
	s.queue.settle(w.current)
	return nil
}

// settle forgets what is pending.
func (w *writer) settle() {
	clear(w.pending)
	w.pending = w.pending[:0]
}

// discard gives up what is not written.
func (w *writer) discard() {
	w.buf, w.list = w.buf[:0], w.list[:w.written]
	w.settle()
}

// publish makes a written record known. The queue is locked, so that no deletion comes in between.
func (s *Store) publish(p *pending) {
	switch {
	case p.from != place{}:
		s.index.move(p.hash, p.kind, p.from, p.place)
	case p.kind == kindDelete || p.kind == kindReplace:
		s.unsaved.Store(s.w.active)
	case p.kind == kindPart:
		s.index.put(p.hash, p.variant, p.kind, p.place)
	case p.op != nil && !p.op.gone:
		s.index.put(p.hash, p.variant, p.kind, p.place)
		s.meters.stored.Inc()
	}
}

// rotate seals the active segment and begins the next.
func (s *Store) rotate() error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.sealActive(); err != nil {
		return err
	}
	w := &s.w
	f, err := s.fs.Create(logName(w.next))
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	g := &segment{number: w.next, file: f, size: s.segmentSize}
	w.next++
	w.active, w.tail, w.list, w.written = g, 0, nil, 0
	s.mu.Lock()
	s.segments[g.number] = g
	s.used += g.size
	s.mu.Unlock()
	w.limit = min(w.limit+s.segmentSize/4, s.limit)
	return s.shrink()
}

// sealActive ends the active segment.
func (s *Store) sealActive() error {
	w := &s.w
	g := w.active
	if g == nil {
		return nil
	}
	w.active = nil
	list := w.list[:w.written]
	w.list, w.written = nil, 0
	s.mu.Lock()
	size := w.tail + int64(listHeader+listEntry*len(list)+4)
	s.used += size - g.size
	g.size = size
	s.order = append(s.order, g)
	s.mu.Unlock()
	if w.tail == 0 {
		return s.removeSegment(g)
	}
	s.queue.mu.Lock()
	seq := s.queue.seq
	s.queue.mu.Unlock()
	s.seals <- sealing{g, list, w.tail, seq}
	return nil
}

// sealing is a segment whose list is to be written.
type sealing struct {
	segment *segment
	list    []listed
	size    int64
	seq     uint64
}

// seal is the goroutine that waits for the disk: it syncs.
func (s *Store) seal() {
	tick := time.NewTicker(syncTime)
	defer tick.Stop()
	for {
		select {
		case j, ok := <-s.seals:
			if !ok {
				return
			}
			if err := s.writeList(j); err != nil && !s.isRemoved(j.segment) {
				s.failed.Store(&err)
			}
		case <-tick.C:
			if g := s.unsaved.Swap(nil); g != nil {
				if err := g.file.Sync(); err != nil && !s.isRemoved(g) {
					err = fmt.Errorf("sync: %w", err)
					s.failed.Store(&err)
				}
			}
		}
	}
}

func (s *Store) writeList(j sealing) error {
	if err := j.segment.file.Truncate(j.size); err != nil { // cut what a failed write may have left
		return fmt.Errorf("truncate: %w", err)
	}
	if err := j.segment.file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := s.replaceFile(listName(j.segment.number), encodeList(j.segment.number, j.size, j.seq, j.list)); err != nil {
		return err
	}
	s.mu.Lock()
	j.segment.synced = true
	s.mu.Unlock()
	return nil
}

func (s *Store) isRemoved(g *segment) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return g.gone
}
