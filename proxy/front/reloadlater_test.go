//go:build unix

package front

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withoutFiles runs f while the process can open no file.
func withoutFiles(t *testing.T, f func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// TestAReloadThatFailsForAWhileIsTriedAgain: the files do not change once more because of that.
func TestAReloadThatFailsForAWhileIsTriedAgain(t *testing.T) {
	var log bytes.Buffer
	a, dir := newAuthority(t), t.TempDir()
	pair := pairIn(dir, "site")
	writeFile(t, pair.OCSPFile, a.status(t, a.issue(t, pair, 10, "site.test"), nil))
	s, set := loaded(t, &log, pair)

	writeFile(t, pair.OCSPFile, a.status(t, a.issue(t, pair, 11, "site.test"), nil))
	withoutFiles(t, func() {
		for range 3 {
			s.look(time.Now())
		}
	})
	if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 10 {
		t.Fatalf("certificate %d, want the first", got)
	}
	if n := strings.Count(log.String(), "can't be served"); n != 1 {
		t.Errorf("one failure was logged %d times", n)
	}
	s.look(time.Now())
	if got := s.serves(t, "site.test"); got.Leaf.SerialNumber.Int64() != 11 || got.OCSPStaple == nil {
		t.Errorf("certificate %d, staple %t, when files can be read again", got.Leaf.SerialNumber.Int64(), got.OCSPStaple != nil)
	}

	writeFile(t, pair.OCSPFile, a.status(t, s.serves(t, "site.test").Leaf, nil))
	withoutFiles(t, func() { s.look(time.Now()) })
	s.look(time.Now())
	if s.serves(t, "site.test").OCSPStaple == nil {
		t.Error("no staple when files can be read again")
	}

	begins := a.issue(t, pair, 12, "site.test").NotBefore
	s.look(begins.Add(-time.Minute)) // the authority's clock is ahead
	if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 11 {
		t.Errorf("certificate %d is served before its time", got)
	}
	s.look(begins.Add(time.Minute))
	if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 12 {
		t.Errorf("certificate %d, when its time has come", got)
	}
	if got := set.GetOrCreateCounter(`nearcast_tls_reloads_total{result="failed"}`).Get(); got != 2 {
		t.Errorf("%d failures counted", got)
	}
}
