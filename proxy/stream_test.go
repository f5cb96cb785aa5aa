package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// stampEvery is the distance of the stamps in a generated body: eight bytes that say where they are.
const stampEvery = 4 << 10

// stampedOrigin is an origin in memory whose bodies have size bytes, without a Content-Length when chunked. It sends nothing of them before ready
// is closed.
func stampedOrigin(t *testing.T, e *edge, size int64, chunked bool, ready <-chan struct{}) {
	t.Helper()
	conn, err := upstream.New(&url.URL{Scheme: "http", Host: "origin.example"}, upstream.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
				return
			}
			sendStamped(theirs, size, chunked, ready)
		}()
		return ours, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.table.services[0].origins[0].conn = conn
}

func sendStamped(w io.Writer, size int64, chunked bool, ready <-chan struct{}) {
	const head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n"
	if chunked {
		io.WriteString(w, head+"transfer-encoding: chunked\r\n\r\n")
	} else {
		fmt.Fprintf(w, head+"content-length: %d\r\n\r\n", size)
	}
	<-ready
	piece := make([]byte, 64<<10)
	framed := make([]byte, 0, len(piece)+16)
	for at := int64(0); at < size; at += int64(len(piece)) {
		for i := int64(0); i < int64(len(piece)); i += stampEvery {
			binary.BigEndian.PutUint64(piece[i:], uint64(at+i))
		}
		out := piece
		if chunked {
			out = append(append(fmt.Appendf(framed[:0], "%x\r\n", len(piece)), piece...), '\r', '\n')
		}
		if _, err := w.Write(out); err != nil {
			return
		}
	}
	if chunked {
		io.WriteString(w, "0\r\n\r\n")
	}
}

// streamReader is a client that looks at what it gets and keeps none of it.
type streamReader struct {
	client
	begun  func()         // called with the header section
	paced  func(at int64) // called with each piece
	at     atomic.Int64   // what has come
	stamps [8]byte        // of a stamp that came in two pieces
	fault  func(string)
}

func (r *streamReader) WriteHeader(status int, f message.Fields, length int64) error {
	r.begun()
	return r.client.WriteHeader(status, f, length)
}

func (r *streamReader) Write(p []byte) (int, error) {
	at := r.at.Load()
	for i, b := range p {
		if in := (at + int64(i)) % stampEvery; in >= 8 {
			// On to the next stamp.
			next := int64(i) + stampEvery - in
			r.look(p, at, next)
			break
		} else if r.stamps[in] = b; in == 7 {
			r.compare(at + int64(i) - 7)
		}
	}
	r.at.Store(at + int64(len(p)))
	r.paced(at + int64(len(p)))
	return len(p), nil
}

// look goes from stamp to stamp.
func (r *streamReader) look(p []byte, at, i int64) {
	for ; i < int64(len(p)); i += stampEvery {
		if n := copy(r.stamps[:], p[i:]); n == 8 {
			r.compare(at + i)
		}
	}
}

func (r *streamReader) compare(at int64) {
	if got := int64(binary.BigEndian.Uint64(r.stamps[:])); got != at {
		r.fault(fmt.Sprintf("at %d are the bytes of %d", at, got))
	}
}

// TestALargeBodyStreams passes a body that is far larger than the cache to clients of different speeds, who share one fetch where the cache can't know
// beforehand, and looks at what that takes.
func TestALargeBodyStreams(t *testing.T) {
	sizes := []int64{256 << 20, 1 << 30} // the readers of the first hold each other up, which takes time
	if testing.Short() || raced {
		sizes = []int64{32 << 20, 64 << 20}
	}
	for i, c := range []struct {
		what    string
		chunked bool
		readers int
	}{
		{"of unknown length: shared", true, 4},
		{"of known length: each its own", false, 1},
	} {
		t.Run(c.what, func(t *testing.T) { passLarge(t, sizes[i], c.chunked, c.readers) })
	}
}

func passLarge(t *testing.T, size int64, chunked bool, readers int) {
	set := metrics.NewSet()
	cfg := cache.Config{Memory: 32 << 20, MaxObject: 4 << 20}
	e := newEdge(t, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, s *ServiceConfig) {
		o.AccessLog, o.Set, o.Cache = nil, set, cache.New(cfg, set)
	})
	ready := make(chan struct{})
	stampedOrigin(t, e, size, chunked, ready)

	var begun, done sync.WaitGroup
	begun.Add(readers)
	var before, most, held atomic.Int64
	before.Store(heapNow())
	empty := e.cacheBytes()
	all := make([]*streamReader, readers)
	for i := range all {
		// The first is as fast as can be. Each of the others goes on only when the one before it is a good way ahead.
		all[i] = &streamReader{begun: sync.OnceFunc(begun.Done), fault: func(s string) { t.Error(s) }}
		all[i].paced = func(at int64) {
			if i == 0 && at%(32<<20) < 64<<10 {
				most.Store(max(most.Load(), heapNow()-before.Load()))
				held.Store(max(held.Load(), int64(e.cacheBytes())))
			}
			if i > 0 && at < size && at%(1<<20) < 32<<10 {
				for all[i-1].at.Load() < min(at+128<<10, size) {
					runtime.Gosched()
				}
			}
		}
	}
	for _, r := range all {
		done.Go(func() { e.Serve(t.Context(), r, request("GET", "/large")) })
	}
	begun.Wait()
	close(ready)
	done.Wait()
	e.settle()
	for i, r := range all {
		if r.at.Load() != size || r.aborted || r.status != 200 {
			t.Errorf("reader %d: status %d, %d of %d bytes, aborted %v", i, r.status, r.at.Load(), size, r.aborted)
		}
	}
	// A window of 1 MiB, what had come before the body turned out too large, and the collector's slack.
	if most.Load() > 64<<20 || held.Load() > 8<<20 {
		t.Errorf("the heap grew by %d bytes, the cache held %d", most.Load(), held.Load())
	}
	if left := e.cacheBytes(); left > empty {
		t.Errorf("%v bytes of the cache stay in use", left-empty)
	}
	t.Logf("%d MiB to each of %d: the heap grew by %d KiB at most, the cache held %d KiB", size>>20, readers, most.Load()>>10, held.Load()>>10)
}

func heapNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cacheBytes is the metric.
func (e *edge) cacheBytes() float64 {
	return e.opts.Set.GetOrCreateGauge("nearcast_cache_bytes", nil).Get()
}
