package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pattern is a body that tells its key and length.
func pattern(key string, version, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(len(key))+uint64(version)<<32, uint64(n)^hashOf(key)))
	for i := 0; i < n; i += 8 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], r.Uint64())
		copy(b[i:], w[:])
	}
	return b
}

func hashOf(s string) (h uint64) {
	for i := range len(s) {
		h = h*31 + uint64(s[i])
	}
	return h
}

func openTest(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Size == 0 {
		o.Size = MinSize
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	<-s.loaded
	return s
}

// put stores version of the key, and waits until it is written.
func put(t *testing.T, s *Store, key string, version, n int) {
	t.Helper()
	if !s.Put(object(s, key, version, n)) {
		t.Fatalf("put %s: dropped", key)
	}
	flush(t, s)
}

func object(s *Store, key string, version, n int) Object {
	return Object{Hash: s.Hash([]byte(key)), Key: []byte(key), Meta: fmt.Appendf(nil, "v%d", version), Body: [][]byte{pattern(key, version, n)}}
}

func flush(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// get returns the version that is stored, 0 when there is none. Its body must be right.
func get(t *testing.T, s *Store, key string) (version int) {
	t.Helper()
	r, err := s.Get(t.Context(), s.Hash([]byte(key)), func(k, _ []byte) bool { return string(k) == key })
	if errors.Is(err, ErrNotFound) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(r.Meta), "v%d", &version); err != nil {
		t.Fatalf("meta %q", r.Meta)
	}
	body, err := r.ReadAll(t.Context())
	if err != nil {
		return 0 // damaged
	}
	if !bytes.Equal(bytes.Join(body, nil), pattern(key, version, int(r.Length))) {
		t.Fatalf("%s: wrong bytes", key)
	}
	return version
}

func TestBodiesComeBack(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{0, 1, 7, 8, chunkSize - 1, chunkSize, chunkSize + 1, firstRead, 3 * chunkSize, partSize, partSize + 1, 3*partSize + 17}
	s := openTest(t, Options{Path: dir})
	for _, n := range sizes {
		put(t, s, fmt.Sprint("k", n), 1, n)
	}
	check := func(s *Store) {
		t.Helper()
		for _, n := range sizes {
			key := fmt.Sprint("k", n)
			if got := get(t, s, key); got != 1 {
				t.Fatalf("%s: version %d", key, got)
			}
			r, err := s.Get(t.Context(), s.Hash([]byte(key)), func(k, _ []byte) bool { return string(k) == key })
			if err != nil {
				t.Fatal(err)
			}
			want := pattern(key, 1, n)
			for _, at := range []int{0, 1, n / 2, n - 1} {
				if at < 0 || at >= n {
					continue
				}
				c, err := r.Chunk(t.Context(), int64(at))
				if err != nil || len(c) == 0 || !bytes.Equal(c, want[at:at+len(c)]) {
					t.Fatalf("%s at %d: %v", key, at, err)
				}
			}
		}
	}
	check(s)
	s.Close()
	check(openTest(t, Options{Path: dir}))
}

func TestNothingComesBackThatIsObsolete(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir})
	put(t, s, "replaced", 1, 100)
	put(t, s, "replaced", 2, 50)
	put(t, s, "deleted", 1, 100)
	put(t, s, "deleted large", 1, 2*partSize)
	put(t, s, "again", 1, 100)
	for _, k := range []string{"deleted", "deleted large", "again"} {
		s.Delete(s.Hash([]byte(k)))
	}
	put(t, s, "again", 2, 100)
	s.Put(object(s, "queued", 1, 10)) // and deleted before it may be written
	s.Delete(s.Hash([]byte("queued")))
	want := map[string]int{"replaced": 2, "deleted": 0, "deleted large": 0, "again": 2, "queued": 0}
	for range 3 {
		flush(t, s)
		for k, v := range want {
			if got := get(t, s, k); got != v {
				t.Errorf("%s: version %d, want %d", k, got, v)
			}
		}
		s.Close()
		s = openTest(t, Options{Path: dir})
	}
	s.Clear()
	put(t, s, "new", 1, 10)
	s.Close()
	s = openTest(t, Options{Path: dir})
	if get(t, s, "replaced") != 0 || get(t, s, "new") != 1 {
		t.Error("Clear did not hold after a restart")
	}
}

func TestVariants(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	h := s.Hash([]byte("k"))
	store := func(variant uint32, meta string, replaces func(key, meta []byte) bool) {
		s.Put(Object{Hash: h, Variant: variant, Key: []byte("k"), Meta: []byte(meta), Replaces: replaces})
		flush(t, s)
	}
	newest := func(is func(meta string) bool) string {
		r, err := s.Get(t.Context(), h, func(_, m []byte) bool { return is(string(m)) })
		if err != nil {
			return ""
		}
		return string(r.Meta)
	}
	any := func(string) bool { return true }
	store(1, "de", nil)
	store(2, "en", nil)
	if got := newest(any); got != "en" {
		t.Errorf("newest: %q", got)
	}
	store(1, "de 2", nil)
	if got := newest(any); got != "de 2" {
		t.Errorf("newest: %q", got)
	}
	store(3, "fr", func(_, m []byte) bool { return string(m) == "en" })
	if got := newest(func(m string) bool { return m == "en" }); got != "" {
		t.Error("the variant has not been replaced")
	}
	if got := newest(func(m string) bool { return m == "de 2" }); got == "" {
		t.Error("another variant has gone")
	}
	for v := range uint32(2 * maxVariants) {
		store(10+v, "x", nil)
	}
	if n := len(s.index.find(nil, h, kindObject)); n != maxVariants {
		t.Errorf("%d variants", n)
	}
}

func TestTheBudgetHoldsAndWhatIsReadStays(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir, Segment: 4 << 20})
	put(t, s, "hot", 1, 1000)
	put(t, s, "large and hot", 1, partSize+partSize/2)
	put(t, s, "cold", 1, 1000)
	for i := range 400 {
		put(t, s, fmt.Sprint("filler", i), 1, 300<<10)
		if i%20 == 0 && (get(t, s, "hot") != 1 || get(t, s, "large and hot") != 1) {
			t.Fatalf("what is in use has gone after %d", i)
		}
		if used := dirSize(t, dir); used > MinSize {
			t.Fatalf("%d bytes on disk", used)
		}
	}
	if get(t, s, "cold") != 0 {
		t.Error("nothing has been evicted")
	}
	n, _ := s.index.size()
	s.Close()
	s = openTest(t, Options{Path: dir, Segment: 4 << 20})
	if m, _ := s.index.size(); m != n {
		t.Errorf("%d records, %d after the restart", n, m)
	}
	if get(t, s, "hot") != 1 {
		t.Error("what was moved has gone with the restart")
	}
}

func dirSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil {
			n += st.Size()
		}
	}
	return n
}

func TestStream(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir})
	key := "streamed"
	h := s.Hash([]byte(key))
	body := pattern(key, 1, 5*partSize/2)
	w := s.Create(h, 0, time.Time{})
	for p := body; len(p) > 0; p = p[min(len(p), 10000):] {
		if !w.Write(p[:min(len(p), 10000)]) {
			t.Fatal("given up")
		}
	}
	if flush(t, s); get(t, s, key) != 0 {
		t.Error("seen before its end")
	}
	if !w.Commit([]byte(key), []byte("v1"), nil) {
		t.Fatal("commit")
	}
	if flush(t, s); get(t, s, key) != 1 {
		t.Error("not there")
	}
	r, err := s.Get(t.Context(), h, func(_, _ []byte) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if !s.Rewrite(r, []byte(key), []byte("v1 and more"), time.Time{}) {
		t.Error("no new head")
	}
	w = s.Create(h, 0, time.Time{})
	w.Write(make([]byte, 2*partSize))
	w.Abort()
	s.Close()
	s = openTest(t, Options{Path: dir})
	if get(t, s, key) != 1 {
		t.Error("gone after a restart")
	}
}

func TestExpiredRecordsAreNotLoaded(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1e9, 0)
	s := openTest(t, Options{Path: dir, Now: func() time.Time { return now }})
	put(t, s, "k", 1, 10)
	o := object(s, "k", 2, 10)
	o.Expires = now.Add(time.Minute)
	s.Put(o)
	flush(t, s)
	s.Close()
	now = now.Add(time.Hour)
	s = openTest(t, Options{Path: dir, Now: func() time.Time { return now }})
	if v := get(t, s, "k"); v != 0 {
		t.Errorf("version %d is back", v)
	}
}

func TestEventsSurvive(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir, Keep: func(_, _ []byte) bool { return true }})
	put(t, s, "before", 1, 10)
	first, err := s.AppendEvent([]byte("purge everything"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "after", 1, 10)
	seqOf := func(key string) uint64 {
		r, err := s.Get(t.Context(), s.Hash([]byte(key)), func(_, _ []byte) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		return r.Seq
	}
	if !(seqOf("before") < first && first < seqOf("after")) {
		t.Errorf("order: %d %d %d", seqOf("before"), first, seqOf("after"))
	}
	s.Close()
	f, err := os.OpenFile(filepath.Join(dir, eventsName), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(appendEvent(nil, Event{1, []byte("torn")})[:19])
	f.Close()
	s = openTest(t, Options{Path: dir})
	second, err := s.AppendEvent([]byte("again"))
	if err != nil || second <= seqOf("after") {
		t.Errorf("%d, %v", second, err)
	}
	s.Close()
	s = openTest(t, Options{Path: dir})
	if ev := s.Events(); len(ev) != 2 || ev[0].Seq != first || string(ev[1].Data) != "again" {
		t.Errorf("events: %v", ev)
	}
}

func TestForeignDirectories(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: filepath.Join(dir, "a")})
	if _, err := Open(Options{Path: filepath.Join(dir, "a"), Size: MinSize}); !errors.Is(err, ErrLocked) {
		t.Errorf("second process: %v", err)
	}
	if st, _ := os.Stat(filepath.Join(dir, "a")); st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "a", formatName), []byte("nearcast disk cache 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "x", "y")} {
		if s, err := Open(Options{Path: path, Size: MinSize}); err == nil {
			s.Close()
			t.Errorf("%s was taken", path)
		} else {
			t.Log(err)
		}
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir})
	for i := range 100 {
		s.Put(object(s, fmt.Sprint(i), 1, 5000))
	}
	s.Close()
	if err := s.Flush(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	s = openTest(t, Options{Path: dir})
	for i := range 100 {
		if get(t, s, fmt.Sprint(i)) != 1 {
			t.Fatal(i)
		}
	}
}

// TestTheNewestVariantIsSelected after an older one has been moved behind it in the log (RFC 9111 §4.1).
func TestTheNewestVariantIsSelected(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: dir, Segment: 4 << 20})
	h := s.Hash([]byte("k"))
	read := func(match func(meta string) bool) string {
		t.Helper()
		r, err := s.Get(t.Context(), h, func(_, m []byte) bool { return match(string(m)) })
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Meta)
	}
	fill := func(n, version int) {
		for i := range n {
			put(t, s, fmt.Sprint("filler", i), version, 300<<10)
		}
	}
	s.Put(Object{Hash: h, Variant: 1, Key: []byte("k"), Meta: []byte("old")})
	fill(20, 1)
	s.Put(Object{Hash: h, Variant: 2, Key: []byte("k"), Meta: []byte("new")})
	read(func(meta string) bool { return meta == "old" }) // and so it is moved
	for version := 2; s.meters.moved.Get() == 0; version++ {
		fill(10, version)
	}
	for range 2 {
		if got := read(func(string) bool { return true }); got != "new" {
			t.Errorf("%q", got)
		}
		s.Close()
		s = openTest(t, Options{Path: dir, Segment: 4 << 20})
	}
}

// TestTheIndexHasABound: with more records than that the oldest go, and are not back after a restart.
func TestTheIndexHasABound(t *testing.T) {
	dir := t.TempDir()
	o := Options{Path: dir, Index: 1}
	s := openTest(t, Options{Path: dir})
	for i := range 2 * minRecords {
		for !s.Put(object(s, fmt.Sprint(i), 1, 8)) {
			flush(t, s)
		}
		if i%(minRecords/16) == 0 { // a segment of its own
			flush(t, s)
			s.Close()
			s = openTest(t, Options{Path: dir})
		}
	}
	s.Close()
	check := func() {
		t.Helper()
		if n := s.Len(); n > minRecords || n < minRecords/2 {
			t.Fatalf("%d records", n)
		}
	}
	s = openTest(t, o)
	check()
	for i := range 2 * minRecords {
		for !s.Put(object(s, fmt.Sprint("new", i), 1, 8)) {
			flush(t, s)
		}
	}
	flush(t, s)
	check()
	if get(t, s, fmt.Sprint(2*minRecords-1)) != 0 || get(t, s, fmt.Sprint("new", 2*minRecords-1)) != 1 {
		t.Error("not the oldest have gone")
	}
	s.Close()
	s = openTest(t, Options{Path: dir}) // with room for more
	if get(t, s, "0") != 0 {
		t.Error("back")
	}
}
