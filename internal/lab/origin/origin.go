// Package origin is the lab's origin server. Every response names its region in X-Origin-Region, and it counts what it is asked for, so that
// a test can tell a cached response from a fetched one.
package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RegionHeader is the response field that names the origin's region.
const RegionHeader = "X-Origin-Region"

const (
	maxPaths = 4096             // counted separately; further ones only add to the total
	maxSize  = 16 << 20         // bytes of /static
	maxSlow  = 10 * time.Minute // delay of /slow
)

// Counts is the answer of /count.
type Counts struct {
	Region string            `json:"region"`
	Total  uint64            `json:"total"` // requests but for /healthz and /count
	Paths  map[string]uint64 `json:"paths"` // of those, by path
}

// Origin is a handler.
type Origin struct {
	// immutable
	region string
	mux    *http.ServeMux

	// shared
	mu     sync.Mutex
	counts Counts
}

// New returns an origin of that region:
//
//	/healthz          200
//	/static/NAME      cacheable for ?age=N seconds, default an hour; ?size=N bytes, default 1024
//	/dynamic          never stored
//	/slow?ms=N        as /dynamic, after N milliseconds
//	/stream?every=D   as /dynamic, but a line with its number at once and then after every D, ?n=N lines in all, each flushed
//	/bulk?size=N      never stored; N bytes for a GET, whose digest is in Repr-Digest; a POST is answered with a Receipt
//	/page             a page that writes the protocol it came over into itself
//	/count            Counts as JSON
func New(region string) *Origin {
	o := &Origin{region: region, mux: http.NewServeMux(), counts: Counts{Region: region, Paths: map[string]uint64{}}}
	o.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	o.mux.HandleFunc("GET /static/", o.counted(o.static))
	o.mux.HandleFunc("/dynamic", o.counted(o.dynamic))
	o.mux.HandleFunc("/slow", o.counted(o.slow))
	o.mux.HandleFunc("GET /stream", o.counted(o.stream))
	o.mux.HandleFunc("GET /bulk", o.counted(o.send))
	o.mux.HandleFunc("POST /bulk", o.counted(o.receive))
	o.mux.HandleFunc("GET /page", o.counted(o.page))
	o.mux.HandleFunc("GET /count", o.count)
	return o
}

func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(RegionHeader, o.region)
	o.mux.ServeHTTP(w, r)
}

func (o *Origin) counted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.counts.Total++
		if _, known := o.counts.Paths[r.URL.Path]; known || len(o.counts.Paths) < maxPaths {
			o.counts.Paths[r.URL.Path]++
		}
		o.mu.Unlock()
		next(w, r)
	}
}

func (o *Origin) static(w http.ResponseWriter, r *http.Request) {
	size := 1024
	if s := r.URL.Query().Get("size"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > maxSize {
			http.Error(w, fmt.Sprintf("size must be 0 to %d", maxSize), http.StatusBadRequest)
			return
		}
		size = n
	}
	age := 3600
	if s := r.URL.Query().Get("age"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			http.Error(w, "age must be a number of seconds", http.StatusBadRequest)
			return
		}
		age = n
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(age))
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Etag", `"`+strconv.Itoa(size)+`"`)
	h.Set("Content-Length", strconv.Itoa(size))
	_, _ = w.Write([]byte(strings.Repeat("x", size)))
}

func (o *Origin) dynamic(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintln(w, o.region)
}

func (o *Origin) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	delay := time.Duration(ms) * time.Millisecond
	if err != nil || ms < 0 || delay > maxSlow {
		http.Error(w, "ms must be a number of milliseconds, 10 minutes at most", http.StatusBadRequest)
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		o.dynamic(w, r)
	case <-r.Context().Done():
	}
}

// pageText tells in its title and its elements which protocol the browser itself says it loaded the page over.
const pageText = `<!doctype html><meta charset=utf-8><title>loading</title>
<p>origin <b id=region>%s</b> over <b id=protocol></b></p>
<script>
addEventListener("load", () => setTimeout(() => {
  const entry = performance.getEntriesByType("navigation")[0];
  document.getElementById("protocol").textContent = entry.nextHopProtocol;
  document.title = "loaded";
}));
</script>
`

func (o *Origin) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, pageText, o.region)
}

func (o *Origin) count(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	o.mu.Lock()
	data, err := json.Marshal(o.counts)
	o.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(data)
}

// Run serves an origin of that region on address until ctx is done. Requests in progress then have a second to end.
func Run(ctx context.Context, region, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("origin of %s: %w", region, err)
	}
	return Serve(ctx, region, l)
}

// Serve is Run on a listener, which it closes.
func Serve(ctx context.Context, region string, l net.Listener) error {
	server := &http.Server{Handler: New(region), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("origin of %s: %w", region, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("origin of %s: %w", region, err)
	}
	return nil
}
