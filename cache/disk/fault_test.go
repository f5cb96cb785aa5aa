package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is a directory in memory whose operations can be made to fail.
type faulty struct {
	t     *testing.T
	files map[string]*memFile
	mu    chan struct{} // a lock that synctest can see through
	write atomic.Pointer[fault]
	read  atomic.Pointer[error]
	hang  atomic.Pointer[chan struct{}] // reads wait until it is closed
	other atomic.Pointer[error]         // of create, remove, rename and sync
	// renamed is called after every rename; nil: nothing is.
	renamed func()
}

// fault is a write that fails after some bytes.
type fault struct {
	err   error
	after int
}

func newFaulty(t *testing.T) *faulty {
	f := &faulty{t: t, files: make(map[string]*memFile), mu: make(chan struct{}, 1)}
	f.mu <- struct{}{}
	return f
}

type memFile struct {
	fs   *faulty
	data []byte
}

func (f *faulty) lock() func() { <-f.mu; return func() { f.mu <- struct{}{} } }

func (f *faulty) fails() error {
	if e := f.other.Load(); e != nil {
		return *e
	}
	return nil
}

func (f *faulty) Create(name string) (File, error) {
	defer f.lock()()
	if err := f.fails(); err != nil {
		return nil, err
	}
	f.files[name] = &memFile{fs: f}
	return f.files[name], nil
}

func (f *faulty) Open(name string) (File, error) {
	defer f.lock()()
	if m := f.files[name]; m != nil {
		return m, nil
	}
	return nil, os.ErrNotExist
}

func (f *faulty) Rename(from, to string) error {
	defer f.lock()()
	if err := f.fails(); err != nil {
		return err
	}
	f.files[to] = f.files[from]
	delete(f.files, from)
	if f.renamed != nil {
		f.renamed()
	}
	return nil
}

func (f *faulty) Remove(name string) error {
	defer f.lock()()
	if err := f.fails(); err != nil {
		return err
	}
	if f.files[name] == nil {
		return os.ErrNotExist
	}
	delete(f.files, name)
	return nil
}

func (f *faulty) List() (names []string, err error) {
	defer f.lock()()
	for n := range f.files {
		names = append(names, n)
	}
	return names, nil
}

func (f *faulty) Sync() error { return f.fails() }

func (f *faulty) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (m *memFile) ReadAt(p []byte, at int64) (int, error) {
	if h := m.fs.hang.Load(); h != nil {
		<-*h
	}
	defer m.fs.lock()()
	if e := m.fs.read.Load(); e != nil {
		return 0, *e
	}
	if at > int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFile) WriteAt(p []byte, at int64) (int, error) {
	defer m.fs.lock()()
	n := len(p)
	var err error
	if f := m.fs.write.Load(); f != nil {
		n, err = min(n, f.after), f.err
	}
	if need := int(at) + n; need > len(m.data) {
		m.data = append(m.data, make([]byte, need-len(m.data))...)
	}
	copy(m.data[at:], p[:n])
	return n, err
}

func (m *memFile) Close() error { return nil }
func (m *memFile) Size() (int64, error) {
	defer m.fs.lock()()
	return int64(len(m.data)), nil
}
func (m *memFile) Sync() error { return m.fs.fails() }
func (m *memFile) Truncate(n int64) error {
	defer m.fs.lock()()
	if err := m.fs.fails(); err != nil {
		return err
	}
	m.data = m.data[:min(n, int64(len(m.data)))]
	return nil
}

func TestAFailingDiskDegradesAndComesBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  fault
		reason string
	}{
		{"full", fault{syscall.ENOSPC, 0}, "full"},
		{"full in the middle", fault{syscall.ENOSPC, 100}, "full"},
		{"input/output error", fault{syscall.EIO, 50}, "failing"},
		{"read-only", fault{syscall.EROFS, 0}, "read-only"},
		{"short write", fault{nil, 17}, "failing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newFaulty(t)
				s := openTest(t, Options{FS: fs})
				for _, k := range []string{"kept", "purged", "replaced"} {
					put(t, s, k, 1, 1000)
				}
				fs.write.Store(&test.fault)
				s.Put(object(s, "lost", 1, 1000))
				synctest.Wait()
				if st := s.Status(); st.State != Degraded || st.Reason != test.reason {
					t.Fatalf("status %+v", st)
				}
				if s.Put(object(s, "refused", 1, 10)) {
					t.Error("taken while the disk fails")
				}
				s.Put(object(s, "replaced", 2, 10)) // what it would replace must go all the same
				s.Delete(s.Hash([]byte("purged")))
				want := map[string]int{"kept": 1, "purged": 0, "replaced": 0, "lost": 0}
				check := func(when string) {
					t.Helper()
					for k, v := range want {
						if got := get(t, s, k); got != v && (test.reason != ReasonFull || v == 0) {
							t.Errorf("%s: %s: version %d, want %d", when, k, got, v)
						}
					}
				}
				check("while it fails")
				time.Sleep(5 * time.Minute)
				if s.State() != Degraded {
					t.Error("it does not fail any more")
				}
				fs.write.Store(nil)
				time.Sleep(lastTry + time.Second)
				if st := s.Status(); st.State != Ready {
					t.Fatalf("status %+v", st)
				}
				flush(t, s)
				check("after it")
				put(t, s, "new", 1, 10)
				s.Close()
				s = openTest(t, Options{FS: fs})
				want["new"] = 1
				check("after a restart")
				s.Close()
			})
		})
	}
}

func TestTooManyDeletionsGiveUpEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		put(t, s, "k", 1, 10)
		fs.write.Store(&fault{syscall.EIO, 0})
		s.Put(object(s, "x", 1, 10))
		synctest.Wait()
		s.queue.mu.Lock()
		for i := range maxDeletes + 10 {
			s.tombstone(uint64(i), 0, kindDelete)
		}
		s.queue.mu.Unlock()
		if get(t, s, "k") != 0 {
			t.Error("still served")
		}
		if len(s.queue.ops) > 100 {
			t.Errorf("%d operations wait", len(s.queue.ops))
		}
		fs.write.Store(nil)
		time.Sleep(lastTry + time.Second)
		flush(t, s)
		s.Close()
		s = openTest(t, Options{FS: fs})
		if get(t, s, "k") != 0 {
			t.Error("back after a restart")
		}
		s.Close()
	})
}

// TestAKillWithDeletionsThatWait ends a process whose deletions could not be written, with and without a word.
func TestAKillWithDeletionsThatWait(t *testing.T) {
	for _, killed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			fs := newFaulty(t)
			s := openTest(t, Options{FS: fs})
			put(t, s, "k", 1, 10)
			fs.write.Store(&fault{syscall.ENOSPC, 0})
			s.Put(object(s, "x", 1, 10))
			synctest.Wait()
			s.Delete(s.Hash([]byte("k")))
			synctest.Wait()
			after := newFaulty(t)
			for name, f := range fs.files {
				after.files[name] = &memFile{after, f.data}
			}
			s.Close()
			if !killed {
				after = fs
				fs.write.Store(nil)
			}
			s = openTest(t, Options{FS: after})
			if get(t, s, "k") != 0 {
				t.Errorf("killed %v: back", killed)
			}
			put(t, s, "k", 2, 10)
			s.Close()
			s = openTest(t, Options{FS: after})
			if get(t, s, "k") != 2 {
				t.Errorf("killed %v: gone", killed)
			}
			s.Close()
		})
	}
}

// TestAReaderFollowsWhatMoves evicts a body's segments while it is read.
func TestAReaderFollowsWhatMoves(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir(), Segment: 4 << 20})
	const n = partSize + partSize/2
	put(t, s, "large", 1, n)
	put(t, s, "small", 1, partSize/4)
	want := map[string][]byte{"large": pattern("large", 1, n), "small": pattern("small", 1, partSize/4)}
	readers := map[string]*Record{}
	for key := range want {
		r, err := s.Get(t.Context(), s.Hash([]byte(key)), func(_, _ []byte) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Chunk(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		readers[key] = r
	}
	for i := range 250 {
		put(t, s, fmt.Sprint("filler", i), 1, 300<<10)
	}
	for key, r := range readers {
		for at := 0; at < len(want[key]); {
			c, err := r.Chunk(t.Context(), int64(at))
			if err != nil || !bytes.Equal(c, want[key][at:at+len(c)]) {
				t.Fatalf("%s at %d: %v", key, at, err)
			}
			at += len(c)
		}
	}
}

func TestDamageIsAMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		var end int
		for i := range 40 {
			put(t, s, fmt.Sprint(i), 1, 3000)
			end = len(fs.files[logName(1)].data)
		}
		log := fs.files[logName(1)].data
		for i := 50; i < end; i += 3700 { // one octet of most records
			log[i] ^= 0x10
		}
		lost := 0
		for i := range 40 {
			r, err := s.Get(t.Context(), s.Hash(fmt.Append(nil, i)), func(_, _ []byte) bool { return true })
			if err == nil {
				_, err = r.ReadAll(t.Context())
			}
			if err != nil {
				lost++
				continue
			}
			if get(t, s, fmt.Sprint(i)) != 1 {
				t.Error(i)
			}
		}
		if lost == 0 || lost == 40 {
			t.Errorf("%d lost", lost)
		}
		eio := error(syscall.EIO)
		fs.read.Store(&eio)
		if _, err := s.Get(t.Context(), s.Hash([]byte("39")), func(_, _ []byte) bool { return true }); !errors.Is(err, ErrNotFound) {
			t.Errorf("read error: %v", err)
		}
		fs.read.Store(nil)
		s.Close()
	})
}

// TestTornTail cuts the log at every length, as a crash would, and damages it there: what is found is right.
func TestTornTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaulty(t)
		s := openTest(t, Options{FS: fs})
		put(t, s, "a", 1, 100)
		put(t, s, "b", 1, 100)
		put(t, s, "a", 2, 100)
		s.Delete(s.Hash([]byte("b")))
		flush(t, s)
		log := append([]byte(nil), fs.files[logName(1)].data...)
		salt := append([]byte(nil), fs.files[formatName].data...)
		s.Close()
		seen := map[string]bool{}
		for cut := 0; cut <= len(log); cut += 3 {
			for _, rubbish := range []int{0, 60} {
				fs := newFaulty(t)
				fs.files[formatName] = &memFile{fs, salt}
				fs.files[logName(1)] = &memFile{fs, append(append([]byte(nil), log[:cut]...), make([]byte, rubbish)...)}
				s := openTest(t, Options{FS: fs})
				a, b := get(t, s, "a"), get(t, s, "b")
				seen[fmt.Sprint(a, b)] = true
				put(t, s, "c", 1, 10)
				s.Close()
				s = openTest(t, Options{FS: fs})
				if get(t, s, "c") != 1 || get(t, s, "a") != a {
					t.Fatalf("cut at %d: not what it was after another restart", cut)
				}
				s.Close()
			}
		}
		for state := range seen {
			switch state {
			case "0 0", "1 0", "1 1", "0 1", "2 1", "2 0": // and not "1 0": b goes after a has been replaced
			default:
				t.Errorf("a, b = %s", state)
			}
		}
	})
}

func TestManyReads(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	put(t, s, "k", 1, 10)
	for range readSlots {
		s.slots <- struct{}{}
	}
	if _, err := s.Get(t.Context(), s.Hash([]byte("k")), func(_, _ []byte) bool { return true }); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	for range readSlots {
		<-s.slots
	}
	if get(t, s, "k") != 1 {
		t.Error("gone")
	}
}
