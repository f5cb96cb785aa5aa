package load

import (
	"time"
)

// fill starts requests until the connection is full: first those that wait, then, in a closed loop, new ones.
func (w *h2) fill(now time.Duration) {
	for len(w.again) > 0 && w.hasRoom() {
		s := w.again[len(w.again)-1]
		w.again = w.again[:len(w.again)-1]
		w.start(s.ticket, s.target, now)
	}
	for w.Rate == 0 && !w.ended && w.hasRoom() {
		t, ok := w.next(now)
		if !ok {
			w.ended = true
			return
		}
		w.start(t, w.choose.next(), now)
	}
}

// hasRoom reports that one more stream may be opened.
func (w *h2) hasRoom() bool { return w.up && len(w.index) < w.max && len(w.free) > 0 }

// start opens a stream. There must be room.
func (w *h2) start(t ticket, target pick, now time.Duration) {
	i := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	w.slots[i] = h2Stream{ticket: t, target: target, id: w.id, sent: now, body: w.form.body, window: w.flow.initial}
	w.index[w.id] = i
	w.out = w.form.append(w.out, w.targets, target, w.id)
	if w.form.body > 0 {
		w.flow.sending = append(w.flow.sending, w.id)
	}
	if w.id += 2; w.id > streamNumber-2 {
		w.up = false // the numbers are used up (RFC 9113 §5.1.1)
	}
}

// release frees a stream's slot.
func (w *h2) release(id uint32) {
	i := w.index[id]
	delete(w.index, id)
	w.slots[i] = h2Stream{}
	w.free = append(w.free, i)
	w.room.Signal()
}

// stream finds an open stream, nil for one that has ended.
func (w *h2) stream(id uint32) *h2Stream {
	i, ok := w.index[id]
	if !ok {
		return nil
	}
	return &w.slots[i]
}

// finish notes that a response is whole.
func (w *h2) finish(s *h2Stream, now time.Duration) {
	if s.body > 0 { // the server answered without all of the body, which is no longer of use (RFC 9113 §8.1)
		w.out = appendWordFrame(w.out, frameRSTStream, s.id, codeCancel)
	}
	if s.status < 200 {
		w.failedWith(s.ticket, now, failed(Protocol, "a response without a final status"), 0)
	} else {
		w.succeeded(&w.tally, s.ticket, now, s.status, s.bytes, w.targets.wantLength(s.target))
	}
	w.release(s.id)
}

// reset gives a stream up.
func (w *h2) reset(s *h2Stream, now time.Duration, err error) {
	w.failedWith(s.ticket, now, err, s.status)
	w.release(s.id)
}

// send starts the requests of an open loop as they arrive, as long as there is room for them.
func (w *h2) send() {
	for {
		w.mu.Lock()
		for !w.dead && !w.hasRoom() {
			w.room.Wait()
		}
		dead := w.dead
		w.mu.Unlock()
		if dead {
			return
		}
		t, ok := w.next(0)
		if !w.arrive(t, ok) {
			return
		}
	}
}

// arrive starts a request and those that are overdue; false is the end of them.
func (w *h2) arrive(t ticket, ok bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, ended := w.now(), !ok
	for ok {
		if !w.hasRoom() { // the connection was lost meanwhile
			w.again = append(w.again, h2Stream{ticket: t, target: w.choose.next()})
			break
		}
		w.start(t, w.choose.next(), now)
		if ok = w.hasRoom(); ok {
			t, ok, ended = w.due()
		}
	}
	w.flushLocked() // the reader sees what is wrong with the connection
	if ended {
		w.ended = true
		if w.idle() {
			w.link.close()
		}
	}
	return !ended
}

// watch gives up streams that take too long, and the whole connection when nothing comes from it, or nothing gets into it.
func (w *h2) watch(deadline time.Duration) {
	if !w.mu.TryLock() {
		if at := w.writing.Load(); at != 0 && time.Duration(at) <= deadline {
			w.link.close()
		}
		return
	}
	defer w.mu.Unlock()
	if len(w.index) == 0 {
		if w.Rate == 0 && w.phase.Load() == over { // nothing would wake the reader
			w.ended = true
			w.link.close()
		}
		return
	}
	now, late := w.now(), 0
	for i := range w.slots {
		s := &w.slots[i]
		if s.id == 0 || s.sent > deadline {
			continue
		}
		late++
		w.out = appendWordFrame(w.out, frameRSTStream, s.id, codeCancel)
		w.reset(s, now, errTimeout)
	}
	switch {
	case late == 0:
	case w.heard <= deadline:
		for i := range w.slots {
			if s := &w.slots[i]; s.id != 0 {
				w.reset(s, now, errTimeout)
			}
		}
		w.up = false
		w.link.close()
	default:
		w.fill(now)
		w.expired.Go(func() { w.flush() })
		if len(w.index) == 0 && (!w.up || w.ended) {
			w.link.close()
		}
	}
}
