package disk

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A disk that hangs must not hang those who ask for what is on it. So every read for a client is made by a goroutine of its own, and is waited for
// so long and no longer; what it reads into is its own until it ends. As long as one is overdue nobody begins another, but for
// those who are in the middle of a body.

var (
	// ErrBusy: too many reads are under way for this one to begin in time, or the disk does not answer.
	ErrBusy = errors.New("disk: too many reads are under way")
	// ErrSlow: the disk has not answered in time.
	ErrSlow = errors.New("disk: a read takes too long")
)

const (
	// readSlots bounds the reads under way, readWait how long another one waits for its turn.
	readSlots = 64
	readWait  = 100 * time.Millisecond
	// readLimit is how long a read may take, patience how long one in the middle of a body may, and may wait for its turn.
	readLimit = 2 * time.Second
	patience  = 10 * time.Second
)

// reading is for whom there is a read. nil: for the store, which waits as long as it takes.
type reading struct {
	ctx     context.Context
	patient bool
}

// unanswered reports whether an error of a read says nothing of what is on disk.
func unanswered(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrSlow) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (s *Store) acquire(rd *reading) error {
	wait := readWait
	if rd.patient {
		wait = patience
	} else if s.overdue.Load() > 0 {
		s.meters.busy.Inc()
		return ErrBusy
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-t.C:
		s.meters.busy.Inc()
		return ErrBusy
	case <-rd.ctx.Done():
		return context.Cause(rd.ctx)
	}
}

// fetch fills b from that offset of the segment on. After an error of [unanswered] b is not to be used any more.
func (s *Store) fetch(rd *reading, g *segment, b []byte, at int64) error {
	if rd == nil {
		return readFull(g.file, b, at)
	}
	if err := s.acquire(rd); err != nil {
		return err
	}
	done := make(chan error, 1)
	var late atomic.Bool
	go func() { // Close waits for it: it holds a slot
		err := readFull(g.file, b, at)
		if late.Swap(true) {
			s.overdue.Add(-1)
		}
		<-s.slots
		done <- err
	}()
	limit := readLimit
	if rd.patient {
		limit = patience
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-rd.ctx.Done():
		return context.Cause(rd.ctx)
	case <-t.C:
	}
	s.overdue.Add(1)
	if late.Swap(true) { // it has just ended
		s.overdue.Add(-1)
	}
	s.meters.slow.Inc()
	return ErrSlow
}

// awaitReads waits until no read is under way, and lets none begin.
func (s *Store) awaitReads() {
	for range readSlots {
		s.slots <- struct{}{}
	}
}
