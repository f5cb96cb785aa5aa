package proxy

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
)

// TestWarmAfterARestart asks a second edge, on the first one's directory, for what the first one has fetched: the origin hears nothing of it.
func TestWarmAfterARestart(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"v1"`)
		switch r.URL.Path {
		case "/large":
			http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader(large))
		case "/vary":
			w.Header().Set("Vary", "Accept-Language")
			_, _ = w.Write([]byte(r.Header.Get("Accept-Language")))
		default:
			_, _ = w.Write([]byte("hello"))
		}
	})
	dir := t.TempDir()
	var store *cache.Cache
	start := func() *edge {
		store = cache.New(cache.Config{Memory: 16 << 20, MaxObject: 1 << 20}, nil)
		if err := store.OpenDisk(cache.DiskConfig{Path: dir, Size: 64 << 20, MaxObject: 16 << 20}, nil, metrics.NewSet()); err != nil {
			t.Fatal(err)
		}
		flush(t, store) // which waits until it is loaded
		return newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) { o.Cache = store })
	}
	e := start()
	e.get("/a")
	e.get("/vary", "accept-language", "de")
	e.get("/vary", "accept-language", "en")
	if c := e.get("/large"); c.body.String() != large {
		t.Fatalf("the first: %d, %d bytes", c.status, c.body.Len())
	}
	e.settle()
	flush(t, store)
	asked := hits.Load()
	if c := e.get("/large"); c.body.String() != large || !strings.HasPrefix(c.fields.Get("cache-status"), "nearcast; hit") {
		t.Errorf("too large for memory: %d %v, %d bytes", c.status, c.fields, c.body.Len())
	}
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		e = start()
		e.want("small", e.get("/a"), 200, "hello", "nearcast; hit")
		e.want("small, from memory", e.get("/a"), 200, "hello", "nearcast; hit")
		e.want("a variant", e.get("/vary", "accept-language", "de"), 200, "de", "nearcast; hit")
		e.want("the other", e.get("/vary", "accept-language", "en"), 200, "en", "nearcast; hit")
		e.want("nothing but stored", e.get("/a", "cache-control", "only-if-cached"), 200, "hello", "nearcast; hit")
		e.want("HEAD", e.serve(request("HEAD", "/large")), 200, "", "nearcast; hit")
		e.want("its validator", e.get("/large", "if-none-match", `"v1"`), 304, "", "nearcast; hit")
		e.want("a range", e.get("/large", "range", "bytes=2000000-2000099"), 206, large[2000000:2000100], "nearcast; hit")
		e.want("the end", e.get("/large", "range", "bytes=-5"), 206, large[len(large)-5:], "nearcast; hit")
		if c := e.get("/large", "range", "bytes=0-1,2500000-2500003"); c.status != 206 || !strings.Contains(c.body.String(), large[2500000:2500004]) {
			t.Errorf("several ranges: %d", c.status)
		}
		if c := e.get("/large"); c.body.String() != large || c.length != int64(len(large)) {
			t.Errorf("large: %d, %d bytes", c.status, c.body.Len())
		}
	}
	if n := hits.Load(); n != asked {
		t.Errorf("the origin was asked %d times after the restart", n-asked)
	}
	if c := e.get("/large", "cache-control", "no-cache"); c.body.String() != large || !strings.Contains(c.fields.Get("cache-status"), "fwd-status=304") {
		t.Errorf("revalidated: %d %q, %d bytes", c.status, c.fields.Get("cache-status"), c.body.Len())
	}
	e.serve(request("POST", "/a"))
	store.Close()
	e = start()
	asked = hits.Load()
	if e.get("/a"); hits.Load() != asked+1 {
		t.Error("what an unsafe method has made obsolete is back")
	}
	if e.get("/large"); hits.Load() != asked+1 {
		t.Error("what was revalidated has gone")
	}
	e.settle()
	store.Close()
}

func flush(t *testing.T, c *cache.Cache) {
	t.Helper()
	if err := c.Disk().Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}
