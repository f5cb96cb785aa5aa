package disk

import (
	"errors"
	"fmt"
	"os"
)

// shrink removes the oldest segments until there is room for one more: the next one is begun before the oldest goes.
func (s *Store) shrink() error {
	moved, extra := int64(0), s.events.space()
	for {
		records, _ := s.index.size()
		s.mu.RLock()
		var oldest *segment
		if (s.used+s.segmentSize+extra > s.w.limit || records > s.maxRecords-s.listLimit) && len(s.order) > 0 {
			oldest = s.order[0]
		}
		s.mu.RUnlock()
		if oldest == nil {
			return nil
		}
		if err := s.evict(oldest, &moved); err != nil {
			return err
		}
	}
}

// evict moves what is worth it to the active segment, at most half of that in all, and removes the segment.
func (s *Store) evict(g *segment, moved *int64) error {
	list, err := s.listOf(g)
	if err != nil { // it is lost, and so is what it holds
		list = nil
		s.meters.readErrors.Inc()
	}
	now := seconds(s.now())
	for i := range list {
		e := &list[i]
		if e.kind == kindDelete || e.kind == kindReplace {
			continue
		}
		live, hot := s.index.state(e.hash, e.kind, e.place)
		if !live {
			continue
		}
		if hot && (e.expires == 0 || e.expires > now) && *moved+int64(e.place.size) <= s.segmentSize/2 {
			ok, err := s.move(e)
			if err != nil {
				return err
			}
			if ok {
				*moved += int64(e.place.size)
				continue
			}
		}
		s.index.remove(e.hash, e.kind, e.place)
		s.meters.evicted.Inc()
	}
	if err := s.flush(); err != nil {
		return err
	}
	return s.removeSegment(g)
}

// giveRoom removes the oldest segment because the disk has less room than the budget says, and lowers the budget for a while.
func (s *Store) giveRoom() error {
	s.mu.RLock()
	s.w.limit = min(s.w.limit, s.used) - s.segmentSize
	var g *segment
	if len(s.order) > 0 {
		g = s.order[0]
	}
	s.mu.RUnlock()
	if g == nil {
		return nil
	}
	list, err := s.listOf(g)
	for i := range list {
		s.index.remove(list[i].hash, list[i].kind, list[i].place)
	}
	if err != nil {
		s.meters.readErrors.Inc()
	}
	return s.removeSegment(g)
}

// move appends a record anew; false when it is damaged or of no use.
func (s *Store) move(e *listed) (bool, error) {
	w := &s.w
	g := s.segment(e.place.segment)
	if g == nil {
		return false, nil
	}
	if cap(w.moving) < int(e.place.size) {
		w.moving = make([]byte, e.place.size, max(int(e.place.size), flushAt))
	}
	rec := w.moving[:e.place.size]
	if err := readFull(g.file, rec, e.place.start()); err != nil {
		s.meters.readErrors.Inc()
		return false, nil
	}
	p, err := parsePrefix(rec)
	if err != nil || p.size() != len(rec) || p.hash != e.hash || p.kind == kindPart && !s.wanted(p.key) {
		return false, nil
	}
	for i := range chunksOf(p.bodyLen) {
		from, to := p.chunkRange(i)
		if !p.verifyChunk(i, rec[p.prefix():][from:to]) {
			return false, nil
		}
	}
	if s.keep != nil && p.kind != kindPart && !s.keep(p.key, p.meta) {
		return false, nil
	}
	if err := s.room(len(rec)); err != nil {
		return false, err
	}
	at := w.tail + int64(len(w.buf))
	start := len(w.buf)
	p.segment = uint64(w.active.number)
	w.buf = append(appendHeader(w.buf, &p.header), rec[headerSize:]...)
	seal(w.buf[start:], p.prefix())
	s.note(pending{listed: listed{e.hash, p.seq, w.placeAt(at, len(rec)), e.variant, e.expires, e.kind}, from: e.place})
	s.meters.moved.Add(len(rec))
	if len(w.buf) >= flushAt {
		return true, s.flush()
	}
	return true, nil
}

// wanted reports whether there is still an object that a part may belong to.
func (s *Store) wanted(key []byte) bool {
	ref, ok := parsePartRef(key)
	if !ok {
		return false
	}
	for _, f := range s.index.find(nil, ref.hash, kindObject) {
		if f.kind == kindHead && f.variant == ref.variant {
			return true
		}
	}
	return false
}

// listOf is what a sealed segment holds.
func (s *Store) listOf(g *segment) ([]listed, error) {
	size, err := g.file.Size()
	if err != nil {
		return nil, err
	}
	if list, _, ok := s.readList(g.number, size); ok {
		return list, nil
	}
	got, err := scan(g.file, g.number)
	return got.list, err
}

// readList reads the list's file of a segment of size bytes; false when there is none that is sound.
func (s *Store) readList(number uint32, size int64) (list []listed, seq uint64, ok bool) {
	f, err := s.fs.Open(listName(number))
	if err != nil {
		return nil, 0, false
	}
	defer f.Close()
	b, err := readAll(f)
	if err != nil {
		return nil, 0, false
	}
	list, seq, err = decodeList(b, number, size)
	return list, seq, err == nil
}

// removeSegment removes a sealed segment from the disk.
func (s *Store) removeSegment(g *segment) error {
	for _, name := range [...]string{logName(g.number), listName(g.number)} {
		if err := s.fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove: %w", err)
		}
	}
	s.mu.Lock()
	g.gone = true
	delete(s.segments, g.number)
	for i, x := range s.order {
		if x == g {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			break
		}
	}
	s.used -= g.size
	s.mu.Unlock()
	g.file.Close()
	return s.fs.Sync()
}

// removeAll gives up everything on disk.
func (s *Store) removeAll() error {
	w := &s.w
	w.discard()
	w.written = 0
	if g := w.active; g != nil {
		w.active = nil
		s.mu.Lock()
		s.order = append(s.order, g)
		s.mu.Unlock()
	}
	s.mu.RLock()
	all := append([]*segment(nil), s.order...)
	s.mu.RUnlock()
	for _, g := range all { // the oldest first: a crash in between leaves no record without its tombstone
		if err := s.removeSegment(g); err != nil {
			return err
		}
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.settle(nil)
	return nil
}
