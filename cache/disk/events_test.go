package disk

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
)

// copyOf is what a kill now would leave of the directory.
func (f *faulty) copyOf() *faulty {
	defer f.lock()()
	after := newFaulty(f.t)
	for name, m := range f.files {
		after.files[name] = &memFile{after, append([]byte(nil), m.data...)}
	}
	return after
}

func eventsOf(s *Store) (out string) {
	for _, e := range s.Events() {
		out += string(e.Data) + " "
	}
	return out
}

// TestAnAcknowledgedEventIsThere replaces the events while the directory can't be synced, which comes after the rename.
func TestAnAcknowledgedEventIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		if _, err := s.AppendEvent([]byte("a")); err != nil {
			t.Fatal(err)
		}
		fs.renamed = func() {
			eio := error(syscall.EIO)
			fs.other.Store(&eio)
		}
		if err := s.ReplaceEvents([][]byte{[]byte("b")}); err == nil {
			t.Fatal("no error")
		}
		fs.renamed = nil
		fs.other.Store(nil)
		if _, err := s.AppendEvent([]byte("c")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s = openTest(t, Options{FS: fs})
		if got := eventsOf(s); got != "b c " {
			t.Errorf("events: %q", got)
		}
		s.Close()
	})
}

// TestAFailedEventLeavesNoRubbish fails a long event in the middle, and writes a short one in its place.
func TestAFailedEventLeavesNoRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		fs.write.Store(&fault{syscall.ENOSPC, 200})
		if _, err := s.AppendEvent(make([]byte, 1000)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		fs.write.Store(nil)
		if _, err := s.AppendEvent([]byte("short")); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		put(t, s, "k", 1, 10)
		s.Close()
		s = openTest(t, Options{FS: fs})
		if got := eventsOf(s); got != "short " || get(t, s, "k") != 1 {
			t.Errorf("events: %q", got)
		}
		s.Close()
	})
}

// TestDamagedEventsGiveUpEverything flips every bit of the events' file: an event that can't be read any more may have been about anything.
func TestDamagedEventsGiveUpEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		put(t, s, "k", 1, 10)
		for _, e := range []string{"first", "", "last"} {
			if _, err := s.AppendEvent([]byte(e)); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		size := len(fs.files[eventsName].data)
		for i := range size {
			after := fs.copyOf()
			after.files[eventsName].data[i] ^= 1 << (i % 8)
			s := openTest(t, Options{FS: after})
			if len(s.Events()) < 3 && get(t, s, "k") != 0 {
				t.Errorf("octet %d: %q, and the record is there", i, eventsOf(s))
			}
			if _, err := s.AppendEvent([]byte("new")); err != nil {
				t.Fatal(err)
			}
			put(t, s, "k", 2, 10)
			s.Close()
			s = openTest(t, Options{FS: after})
			if got := eventsOf(s); got[max(len(got)-4, 0):] != "new " || get(t, s, "k") != 2 {
				t.Errorf("octet %d: afterwards %q", i, got)
			}
			s.Close()
		}
		// What is cut short was being written.
		whole := len(appendEvent(nil, Event{1, []byte("last")}))
		for cut := size - whole; cut <= size; cut++ {
			after := fs.copyOf()
			after.files[eventsName].data = after.files[eventsName].data[:cut]
			s := openTest(t, Options{FS: after})
			if get(t, s, "k") != 1 {
				t.Errorf("cut at %d: gone", cut)
			}
			s.Close()
		}
		after := fs.copyOf()
		delete(after.files, eventsName)
		s = openTest(t, Options{FS: after})
		if get(t, s, "k") != 0 {
			t.Error("the events are gone, and the record is there")
		}
		s.Close()
	})
}

func TestReplacedEvents(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir})
	for range 10 {
		if _, err := s.AppendEvent(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ReplaceEvents([][]byte{[]byte("x"), []byte("y")}); err != nil || s.EventBytes() > 200 {
		t.Errorf("%v, %d bytes", err, s.EventBytes())
	}
	if _, err := s.AppendEvent([]byte("z")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openTest(t, Options{Path: dir})
	if got := eventsOf(s); got != "x y z " {
		t.Errorf("events: %q", got)
	}
}

// TestTooManyEventsAreRefused: the caller replaces them in time; should it not, everything goes, and no event is lost.
func TestTooManyEventsAreRefused(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	put(t, s, "k", 1, 10)
	s.events.count.Store(maxEvents)
	if _, err := s.AppendEvent([]byte("x")); !errors.Is(err, errEvents) {
		t.Error(err)
	}
	flush(t, s)
	if get(t, s, "k") != 0 {
		t.Error("still there")
	}
}

func TestAnewStartsEmpty(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir})
	put(t, s, "k", 1, 10)
	if _, err := s.AppendEvent([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openTest(t, Options{Path: dir, Anew: true})
	if get(t, s, "k") != 0 || eventsOf(s) != "x " {
		t.Error("not anew")
	}
	put(t, s, "k", 2, 10)
	s.Close()
	if s = openTest(t, Options{Path: dir}); get(t, s, "k") != 2 {
		t.Error("gone")
	}
}

// TestFlushesDoNotPile: each one that gives up leaves nothing behind while the disk fails.
func TestFlushesDoNotPile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		fs.write.Store(&fault{syscall.EIO, 0})
		s.Put(object(s, "x", 1, 10))
		synctest.Wait()
		for i := range 1000 {
			if err := s.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
				t.Fatal(i, err)
			}
		}
		if len(s.queue.ops) > 10 {
			t.Errorf("%d operations wait", len(s.queue.ops))
		}
		fs.write.Store(nil)
		s.Close()
	})
}
