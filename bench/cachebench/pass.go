package cachebench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// passThrough sends a body that is larger than the cache to two clients, who share the fetch, and looks at the heap and the cache meanwhile.
func (b *bench) passThrough(ctx context.Context) error {
	if b.o.Pass == 0 {
		return nil
	}
	ready := make(chan struct{})
	origin, stop, err := largeOrigin(b.o.Pass, ready)
	if err != nil {
		return err
	}
	defer stop()
	set := metrics.NewSet()
	c := cache.New(cache.Config{Memory: 64 << 20, MaxObject: 8 << 20}, set)
	edge, err := newEdge(c, set, origin)
	if err != nil {
		return err
	}
	defer edge.Close()
	used := set.GetOrCreateGauge("nearcast_cache_bytes", nil)
	before := heap()
	readers := []*sink{{begun: make(chan struct{})}, {begun: make(chan struct{})}}
	start := time.Now()
	done := make(chan struct{}, len(readers))
	for _, s := range readers {
		go func() {
			defer func() { done <- struct{}{} }()
			r := request()
			r.Target.Path, r.Client = "/large", netip.MustParseAddrPort("203.0.113.9:4711")
			edge.Serve(ctx, s, r)
		}()
	}
	for _, s := range readers {
		select {
		case <-s.begun:
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("no answer")
		}
	}
	close(ready)
	most, held := watch(done, len(readers), used, before)
	took := time.Since(start)
	for _, s := range readers {
		if got := s.got.Load(); got != b.o.Pass && ctx.Err() == nil {
			return fmt.Errorf("a client got %d of %d bytes", got, b.o.Pass)
		}
	}
	what := cache.Size(b.o.Pass).String() + " to two clients"
	b.add("pass-through", what, float64(most)/(1<<20), "MiB", "most that the heap grew by")
	b.add("pass-through", what, held/(1<<20), "MiB", "most that the cache held")
	b.add("pass-through", what, float64(b.o.Pass)/(1<<20)/took.Seconds(), "MiB/s", "the origin's work in the same process")
	return nil
}

// watch samples until so many are done.
func watch(done <-chan struct{}, left int, used *metrics.Gauge, before int64) (most int64, held float64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for left > 0 {
		select {
		case <-done:
			left--
		case <-tick.C:
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most, held = max(most, int64(m.HeapAlloc)-before), max(held, used.Get())
	}
	return most, held
}

// largeOrigin answers every request with so many bytes in chunks, once ready is closed.
func largeOrigin(size int64, ready <-chan struct{}) (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ended := make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.(http.Flusher).Flush()
		select {
		case <-ready:
		case <-r.Context().Done():
			return
		}
		piece := make([]byte, 256<<10)
		for left := size; left > 0; left -= int64(len(piece)) {
			piece = piece[:min(int64(len(piece)), left)]
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})}
	go func() {
		defer close(ended)
		_ = s.Serve(ln)
	}()
	return "http://" + ln.Addr().String(), func() { _ = s.Close(); <-ended }, nil
}

// sink is a client that counts.
type sink struct {
	begun chan struct{}
	got   atomic.Int64
}

// WriteInformational implements message.ResponseWriter, as do all of these.
func (s *sink) WriteInformational(int, message.Fields) error { return nil }

// WriteHeader says that the answer has begun.
func (s *sink) WriteHeader(int, message.Fields, int64) error { close(s.begun); return nil }

// Write counts.
func (s *sink) Write(p []byte) (int, error) { s.got.Add(int64(len(p))); return len(p), nil }

// Flush does nothing.
func (s *sink) Flush() error { return nil }

// WriteTrailers does nothing.
func (s *sink) WriteTrailers(message.Fields) error { return nil }

// SwitchProtocols is not for this client.
func (s *sink) SwitchProtocols(message.Fields) (message.Tunnel, error) {
	return nil, errors.ErrUnsupported
}

// Abort does nothing: the count shows it.
func (s *sink) Abort() {}
