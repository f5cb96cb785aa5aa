package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// counting is an origin that counts its requests and answers as the test says.
func counting(t *testing.T, h http.HandlerFunc) (url string, hits *atomic.Int32) {
	t.Helper()
	hits = new(atomic.Int32)
	return originServer(t, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); h(w, r) }), hits
}

func (e *edge) want(why string, c *client, status int, body, cacheStatus string) {
	e.t.Helper()
	if c.status != status || c.body.String() != body || !strings.HasPrefix(c.fields.Get("cache-status"), cacheStatus) {
		e.t.Errorf("%s: got %d %.40q, cache-status %q; want %d %.40q %q", why, c.status, c.body.String(), c.fields.Get("cache-status"), status, body, cacheStatus)
	}
}

func TestACacheableObjectIsFetchedOnce(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"v1"`)
		io.WriteString(w, "hello")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	first := e.get("/a")
	e.want("the first", first, 200, "hello", "nearcast; fwd=uri-miss")
	if first.fields.Has("age") {
		t.Error("what the client itself caused to be fetched has no Age of ours")
	}
	e.settle()
	again := e.get("/a")
	e.want("the second", again, 200, "hello", "nearcast; hit")
	if again.fields.Get("age") != "0" || again.length != 5 {
		t.Errorf("a hit has an Age and a length: %v, %d", again.fields, again.length)
	}
	e.want("HEAD", e.serve(request("HEAD", "/a")), 200, "", "nearcast; hit")
	e.want("its validator", e.get("/a", "if-none-match", `"v1"`), 304, "", "nearcast; hit")
	e.want("a range", e.get("/a", "range", "bytes=1-3"), 206, "ell", "nearcast; hit")
	if c := e.get("/a", "range", "bytes=9-"); c.status != 416 || c.fields.Get("content-range") != "bytes */5" {
		t.Errorf("a range beyond the end: %d %v", c.status, c.fields)
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// settle waits until what was being fetched has been stored.
func (e *edge) settle() { e.fetches.Wait() }

func TestConcurrentMissesShareOneFetch(t *testing.T) {
	release := make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, strings.Repeat("x", 100<<10))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	var wg sync.WaitGroup
	var bad atomic.Int32
	for range 50 {
		wg.Go(func() {
			if c := e.get("/big"); c.status != 200 || c.body.Len() != 100<<10 {
				bad.Add(1)
			}
		})
	}
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	wg.Wait()
	if hits.Load() != 1 || bad.Load() != 0 {
		t.Errorf("%d fetches, %d bad answers", hits.Load(), bad.Load())
	}
}

func TestAFetchOutlivesTheClientThatCausedIt(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		close(arrived)
		<-release
		io.WriteString(w, "second")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Serve(ctx, &client{}, request("GET", "/a"))
	}()
	<-arrived
	joined := make(chan *client, 1)
	go func() { joined <- e.get("/a") }()
	cancel()
	<-done
	close(release)
	if c := <-joined; c.status != 200 || c.body.String() != "first second" {
		t.Errorf("who joined got %d %q", c.status, c.body.String())
	}
	e.settle()
	e.want("afterwards", e.get("/a"), 200, "first second", "nearcast; hit")
	if n := hits.Load(); n > 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestUncacheableAnswersAreEachTheirOwn(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, "for you")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	for range 3 {
		e.want("each", e.get("/d"), 200, "for you", "nearcast; fwd=")
	}
	if n := hits.Load(); n != 3 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestAStaleObjectIsRevalidated(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("Etag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	e.want("revalidated", e.get("/a"), 200, "body", "nearcast; fwd=stale; fwd-status=304")
	if n := hits.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestStaleIfErrorServesWhenEveryOriginFails(t *testing.T) {
	var dead atomic.Bool
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			w.WriteHeader(503)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=60")
		w.Header().Set("Etag", `"v1"`)
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	dead.Store(true)
	if c := e.get("/a"); c.status != 200 || c.body.String() != "body" {
		t.Errorf("got %d %q", c.status, c.body.String())
	}
	e.want("what is not stored still fails", e.get("/b"), 503, "", "nearcast; fwd=uri-miss")
}

func TestStaleWhileRevalidateServesAtOnceAndRefreshesBehind(t *testing.T) {
	var version atomic.Int32
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		fmt.Fprintf(w, "v%d", version.Add(1))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	if c := e.get("/a"); c.body.String() != "v1" {
		t.Errorf("got %q, want the stale v1 at once", c.body.String())
	}
	e.settle()
	if c := e.get("/a"); c.body.String() != "v2" {
		t.Errorf("got %q, want what the background fetched", c.body.String())
	}
}

func TestAnUnsafeMethodMakesTheStoredAnswerObsolete(t *testing.T) {
	var version atomic.Int32
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Method == "POST" {
			version.Add(1)
			return
		}
		fmt.Fprintf(w, "v%d", version.Load())
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	e.serve(request("POST", "/a"))
	if c := e.get("/a"); c.body.String() != "v1" {
		t.Errorf("got %q, want the new version", c.body.String())
	}
}

func TestACacheThatIsOffStoresNothing(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "max-age=60") })
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.Enabled = false })
	e.get("/a")
	e.get("/a")
	if hits.Load() != 2 {
		t.Errorf("the origin was asked %d times", hits.Load())
	}
}

func TestAGetWithContentPassesByTheCache(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.Copy(w, r.Body)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	for _, q := range []string{"one", "two"} {
		r := request("GET", "/search")
		r.Body, r.ContentLength = strings.NewReader(q), int64(len(q))
		e.want("its own answer", e.serve(r), 200, q, "nearcast; fwd=")
	}
	if hits.Load() != 2 {
		t.Errorf("the origin was asked %d times", hits.Load())
	}
}

var _ message.ResponseWriter = (*client)(nil)

func TestAnObjectTooLargeToStoreStillArrivesWhole(t *testing.T) {
	const size = 3 << 20
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for range size / 1024 {
			w.Write(make([]byte, 1024))
		}
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) {
		o.Cache = cache.New(cache.Config{Memory: 8 << 20, MaxObject: 64 << 10}, nil)
	})
	if c := e.get("/big"); c.body.Len() != size || c.aborted {
		t.Errorf("got %d bytes, aborted %v", c.body.Len(), c.aborted)
	}
	e.settle()
	if c := e.get("/big"); !strings.HasPrefix(c.fields.Get("cache-status"), "nearcast; fwd=") {
		t.Errorf("it was stored: %q", c.fields.Get("cache-status"))
	}
}

func TestARevalidationIsTheEdgesOwnWish(t *testing.T) {
	var version atomic.Int32
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("Cache-Control") + r.Header.Get("Pragma"); v != "" {
			t.Errorf("the origin was told %q, which the client was granted already", v)
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		fmt.Fprintf(w, "v%d", version.Add(1))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	for i, wish := range []string{"only-if-cached", "no-store"} {
		if c := e.get("/a", "cache-control", wish, "pragma", "no-cache"); c.body.String() != fmt.Sprintf("v%d", i+1) {
			t.Errorf("%s: got %q; what was fetched after the request before is stored", wish, c.body.String())
		}
		e.settle()
	}
}

// TestARevalidationThatBringsNothingIsNotRepeatedForEveryClient: an answer to credentials is not stored; the next will hardly be another.
func TestARevalidationThatBringsNothingIsNotRepeatedForEveryClient(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	for range 20 {
		e.get("/a", "authorization", "Basic eA==")
		e.settle()
	}
	if n := hits.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestAClientsConditionReachesTheOriginOfWhatIsNotShared(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "page")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.want("the first", e.get("/a"), 200, "page", "nearcast; fwd=uri-miss")
	e.want("the client has a copy", e.get("/a", "if-none-match", `"1"`), 304, "", "nearcast; fwd=uri-miss; fwd-status=304")
	e.want("of something else", e.get("/a", "if-none-match", `"2"`), 200, "page", "nearcast; fwd=uri-miss; fwd-status=200")
	if hits.Load() != 3 {
		t.Errorf("the origin was asked %d times", hits.Load())
	}
}
