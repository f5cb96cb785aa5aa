package disk

import (
	"fmt"
	"slices"
	"strings"
)

// unlisted is a segment that was found, with its list where that has been read already.
type unlisted struct {
	*segment
	list    []listed
	known   bool
	rescued bool // it had no list
	damaged bool // and it or an older one may hold what had been deleted
	end     int64
}

// openSegments opens the segments that are there, the newest first, and finds the last sequence number.
func (s *Store) openSegments(names []string) ([]unlisted, error) {
	var numbers []uint32
	for _, n := range names {
		if k, ok := segmentOf(n, logSuffix); ok {
			numbers = append(numbers, k)
		}
	}
	slices.Sort(numbers)
	for _, n := range names {
		k, ok := segmentOf(n, listSuffix)
		_, has := slices.BinarySearch(numbers, k)
		if ok && !has || strings.HasSuffix(n, tmpSuffix) {
			_ = s.fs.Remove(n) // left from a crash; harmless
		}
	}
	s.w.next, s.w.limit = 1, s.limit
	var found []unlisted
	for _, k := range numbers {
		f, err := s.fs.Open(logName(k))
		if err != nil {
			return nil, fmt.Errorf("disk: %w", err)
		}
		g := &segment{number: k, file: f}
		s.segments[k] = g
		if g.size, err = f.Size(); err != nil {
			return nil, fmt.Errorf("disk: %w", err)
		}
		s.order = append(s.order, g)
		s.used += g.size
		found = append(found, unlisted{segment: g})
		s.w.next = k + 1
	}
	slices.Reverse(found)
	// The newest segments, which have no list after a crash, and the first that has one.
	for i := range found {
		s.queue.seq = max(s.queue.seq, s.read(&found[i]))
		if !found[i].rescued {
			break
		}
	}
	// What a loss of power has taken may have had higher numbers.
	if n := len(s.events.found); n > 0 {
		s.queue.seq = max(s.queue.seq, s.events.found[n-1].Seq)
	}
	s.queue.seq += 1 << 20
	return found, nil
}

// read finds a segment's list, and the last sequence number that it knows of.
func (s *Store) read(u *unlisted) (seq uint64) {
	if u.known {
		return 0
	}
	u.known = true
	if list, seq, ok := s.readList(u.number, u.size); ok {
		u.list = list
		s.account(u)
		return seq
	}
	got, err := scan(u.file, u.number)
	if err != nil {
		s.log.Warn("a segment of the disk cache can't be read", "segment", logName(u.number), "error", err)
	}
	u.list, u.end, u.rescued, u.damaged = got.list, got.end, true, got.damaged || err != nil
	s.account(u)
	return got.seq
}

// account counts a segment's list, on disk or about to be.
func (s *Store) account(u *unlisted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(listHeader + listEntry*len(u.list) + 4)
	u.size += n
	s.used += n
	u.synced = !u.rescued
}

// load fills the index, from the newest segment to the oldest: what is found first counts.
func (s *Store) load(found []unlisted) {
	defer close(s.loaded)
	defer s.index.endLoading()
	now := seconds(s.now())
	began := s.now()
	for i := range found {
		select {
		case <-s.closing:
			return
		default:
		}
		u := &found[i]
		if n, _ := s.index.size(); n > s.maxRecords-s.listLimit {
			s.giveUpOldest(len(found)-i, "it holds more objects than its index may")
			break
		}
		if s.read(u); u.damaged {
			s.giveUpOldest(len(found)-i, "a segment is damaged that may have held deletions")
			break
		}
		for _, e := range slices.Backward(u.list) {
			switch {
			case e.kind == kindDelete:
				s.index.bury(ident{hash: e.hash, all: true})
			case e.kind == kindReplace:
				s.index.bury(ident{hash: e.hash, variant: e.variant})
			case e.expires != 0 && e.expires <= now:
				if e.kind != kindPart {
					s.index.bury(ident{hash: e.hash, variant: e.variant})
				}
			default:
				s.index.putOlder(e.hash, e.variant, e.kind, e.place)
			}
		}
		if u.rescued {
			s.seals <- sealing{u.segment, u.list, u.end, s.Seq()}
		}
		u.list = nil
	}
	n, _ := s.index.size()
	s.log.Info("the disk cache is loaded", "records", n, "segments", len(found), "seconds", s.now().Sub(began).Seconds())
	s.setStatus(Ready, nil)
}

// giveUpOldest removes the n oldest segments, which are not in the index. They can't stay: what is deleted from now on is not looked for in them.
func (s *Store) giveUpOldest(n int, why string) {
	s.mu.RLock()
	oldest := slices.Clone(s.order[:n])
	s.mu.RUnlock()
	s.log.Warn("the oldest segments of the disk cache go: "+why, "segments", n)
	for _, g := range oldest {
		if err := s.removeSegment(g); err != nil {
			s.failed.Store(&err)
			s.Clear() // as soon as it can be
			return
		}
	}
}
