package loopback

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

var (
	v4 = netip.MustParseAddr("192.0.2.1")
	v6 = netip.MustParseAddr("2001:db8:53::1")
)

// fake is a host without a kernel.
type fake struct {
	mu        sync.Mutex
	entries   []entry
	forgetful bool // keeps no marks
	down      bool // the interface is down: nothing is local
	forbidden error
	broken    error // every question and order fails
	wake      chan struct{}
	orders    []string
	closed    int
}

func (f *fake) permitted() error { return f.forbidden }

func (f *fake) list() ([]entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]entry(nil), f.entries...), f.broken
}

func (f *fake) local(a netip.Addr) (bool, error) {
	there, err := f.list()
	found, _ := find(there, a)
	return found && !f.down, err
}

func (f *fake) add(a netip.Addr) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, "add "+a.String())
	for _, e := range f.entries {
		if e.addr == a && e.loopback {
			return false, f.broken
		}
	}
	if f.broken == nil {
		f.entries = append(f.entries, entry{a, true, !f.forgetful})
	}
	return true, f.broken
}

func (f *fake) remove(a netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, "remove "+a.String())
	f.drop(a)
	return f.broken
}

func (f *fake) drop(a netip.Addr) {
	var left []entry
	for _, e := range f.entries {
		if e.addr != a || !e.loopback {
			left = append(left, e)
		}
	}
	f.entries = left
}

// lose is somebody else's removal.
func (f *fake) lose(a netip.Addr, reported bool) {
	f.mu.Lock()
	f.drop(a)
	f.mu.Unlock()
	if reported {
		f.wake <- struct{}{}
	}
}

func (f *fake) toward(netip.Addr) string         { return "" }
func (f *fake) watch() (<-chan struct{}, func()) { return f.wake, func() {} }
func (f *fake) close()                           { f.closed++ }

func (f *fake) told() string { return strings.Join(f.orders, ", ") }

// logged is a log that a test may read while others write.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// with makes addresses on a fake host.
func with(t *testing.T, f *fake, manage bool, all ...netip.Addr) (*Addresses, *logged, *metrics.Set) {
	t.Helper()
	var out logged
	set := metrics.NewSet()
	f.wake = make(chan struct{}, 1)
	return newAddresses(f, all, manage, slog.New(slog.NewTextHandler(&out, nil)), set), &out, set
}
