package disk

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// State is what a store can do.
type State uint8

const (
	Loading  State = iota // it reads what it knows, and serves it; writes wait
	Ready                 // it reads and writes
	Degraded              // the disk fails: nothing is written
	Closed
)

// String returns the word for logs, metrics and the status.
func (s State) String() string {
	switch s {
	case Loading:
		return "loading"
	case Ready:
		return "ready"
	case Degraded:
		return "degraded"
	}
	return "closed"
}

// Reasons of a Status.
const (
	ReasonFull     = "full"      // with Degraded: there is no space
	ReasonReadOnly = "read-only" // with Degraded
	ReasonFailing  = "failing"   // with Degraded, for any other error
	ReasonSlow     = "slow"      // the disk does not answer in time
)

// Status is a state, with the reason when it is Degraded.
type Status struct {
	State  State
	Reason string // with Degraded one of those; otherwise ReasonSlow while the disk does not answer, or ""
	Err    error
}

// Status returns the state of the store.
func (s *Store) Status() Status {
	st := *s.status.Load()
	if st.Reason == "" && s.overdue.Load() > 0 {
		st.Reason = ReasonSlow
	}
	return st
}

// State is Status().State.
func (s *Store) State() State { return s.status.Load().State }

func (s *Store) setStatus(st State, err error) {
	v := &Status{State: st, Err: err}
	switch {
	case err == nil:
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		v.Reason = ReasonFull
	case errors.Is(err, syscall.EROFS):
		v.Reason = ReasonReadOnly
	default:
		v.Reason = ReasonFailing
	}
	s.status.Store(v)
}

// Broken reports whether an error of Open is the disk's: it can't be written or read. Any other is the configuration's.
func Broken(err error) bool {
	for _, e := range [...]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, io.ErrShortWrite, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fail takes the store out of service for writing.
func (s *Store) fail(err error) {
	before := s.State()
	s.setStatus(Degraded, err)
	s.meters.failures.Inc()
	if before != Degraded {
		s.log.Error("the disk cache can't be written; objects are kept in memory only", "reason", s.Status().Reason, "error", err)
	}
	s.w.discard()
	s.queue.mu.Lock()
	s.queue.refuse = true
	for _, o := range s.queue.restore() {
		if o.kind != kindPart {
			s.drop(o)
		} else {
			o.stream.failed.Store(true)
			o.done()
		}
	}
	s.queue.mu.Unlock()
}

// recover waits until the disk can be written again; false when the store is closed first.
func (s *Store) recover(try *time.Duration) bool {
	if err := s.sealActive(); err != nil { // what is written of it is as good as ever
		s.log.Warn("the active segment of the disk cache can't be sealed", "error", err)
	}
	for {
		t := time.NewTimer(*try)
		*try = min(2**try, lastTry)
		for waiting := true; waiting; {
			select {
			case <-s.closing:
				t.Stop()
				s.leave()
				return false
			case <-s.queue.wake:
				s.mark()
			case <-t.C:
				waiting = false
			}
		}
		err := error(nil)
		if s.Status().Reason == ReasonFull {
			err = s.giveRoom()
		}
		if err == nil {
			err = s.probe()
		}
		if err != nil {
			s.setStatus(Degraded, err)
			continue
		}
		s.failed.Store(nil)
		s.queue.mu.Lock()
		s.queue.refuse = false
		s.queue.mu.Unlock()
		s.setStatus(Ready, nil)
		s.log.Info("the disk cache can be written again")
		return true
	}
}

// mark notes in the directory that there are deletions which could not be written: should the process end now, the next one starts anew. It
// takes no space.
func (s *Store) mark() {
	s.queue.mu.Lock()
	pending := s.queue.owes()
	s.queue.mu.Unlock()
	if !pending || s.w.dirty {
		return
	}
	if err := s.fs.Rename(formatName, dirtyName); err != nil {
		s.log.Error("the disk cache can't note that deletions wait to be written: empty its directory if the process is killed", "error", err)
		return
	}
	s.w.dirty = true
	_ = s.fs.Sync()
}

// unmark takes the note back.
func (s *Store) unmark() {
	if err := s.fs.Rename(dirtyName, formatName); err == nil {
		s.w.dirty = false
	}
}

// probeSize is what must be writable before anything is written again.
const probeSize = 1 << 20

// probe tries to write.
func (s *Store) probe() error {
	const name = "probe" + tmpSuffix
	f, err := s.fs.Create(name)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err = writeFull(f, make([]byte, probeSize), 0); err == nil {
		err = f.Sync()
	}
	f.Close()
	if rerr := s.fs.Remove(name); err == nil {
		err = rerr
	}
	return err
}
