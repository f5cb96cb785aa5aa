package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
)

// ranged is an origin that knows ranges, and what it was asked.
type ranged struct {
	mu      sync.Mutex
	content []byte
	tag     string
	more    []string // fields, names and values in turn
	asked   []string // Range of each request, with If-Range after a blank
}

func (o *ranged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	h.Set("Content-Type", "text/x-test")
	if o.tag != "" {
		h.Set("Etag", o.tag)
	}
	for i := 0; i < len(o.more); i += 2 {
		h.Set(o.more[i], o.more[i+1])
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.content))
}

// become makes the origin have something else.
func (o *ranged) become(content []byte, tag string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content, o.tag = content, tag
}

// questions returns what was asked since the last call.
func (o *ranged) questions() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := strings.Join(o.asked, ", ")
	o.asked = nil
	return q
}

func (o *ranged) edge(t *testing.T, change func(*Options, *ServiceConfig)) *edge {
	return newEdge(t, map[string][]string{"fra": {originServer(t, o.ServeHTTP)}}, change)
}

// step is one request and what must come of it.
type step struct {
	why    string
	fields []string
	status int
	// what the client gets, how its Cache-Status begins, and what the origin is asked meanwhile
	body, cacheStatus, asked string
}

func (e *edge) steps(o *ranged, steps ...step) {
	e.t.Helper()
	for _, s := range steps {
		c := e.get("/a", s.fields...)
		e.settle()
		e.want(s.why, c, s.status, s.body, s.cacheStatus)
		if got := o.questions(); got != s.asked {
			e.t.Errorf("%s: the origin was asked %q, want %q", s.why, got, s.asked)
		}
		if c.length != int64(c.body.Len()) && c.status < 300 {
			e.t.Errorf("%s: %d bytes, %d announced", s.why, c.body.Len(), c.length)
		}
		if n := len(c.fields.Values("content-range")); n != 1 && c.status == 206 || n != 0 && c.status == 200 {
			e.t.Errorf("%s: %d with %q", s.why, c.status, c.fields.Values("content-range"))
		}
		if c.status < 300 && c.fields.Get("content-type") != "text/x-test" {
			e.t.Errorf("%s: of type %q", s.why, c.fields.Values("content-type"))
		}
	}
}

func TestRFC9111_3_3_APartIsStoredAndReused(t *testing.T) {
	o := &ranged{content: []byte("0123456789")}
	e := o.edge(t, nil)
	e.steps(o,
		step{"the first", []string{"range", "bytes=-5"}, 206, "56789", "nearcast; fwd=uri-miss; fwd-status=206; stored", "bytes=-5"},
		step{"the same", []string{"range", "bytes=-5"}, 206, "56789", "nearcast; hit", ""},
		step{"within it", []string{"range", "bytes=6-8"}, 206, "678", "nearcast; hit", ""},
		step{"to its end", []string{"range", "bytes=6-"}, 206, "6789", "nearcast; hit", ""},
		step{"the last", []string{"range", "bytes=-1"}, 206, "9", "nearcast; hit", ""},
		step{"two within it", []string{"range", "bytes=5-6"}, 206, "56", "nearcast; hit", ""},
		step{"beyond the end", []string{"range", "bytes=10-"}, 416, "", "nearcast; hit", ""},
		step{"without a validator nothing is combined (§3.4)", []string{"range", "bytes=3-6"}, 206, "3456", "nearcast; fwd=miss", "bytes=3-6"},
		step{"and the newest is kept", []string{"range", "bytes=3-4"}, 206, "34", "nearcast; hit", ""},
		step{"a part is no whole", nil, 200, "0123456789", "nearcast; fwd=miss", ""},
		step{"which has all parts", []string{"range", "bytes=0-1"}, 206, "01", "nearcast; hit", ""},
	)
}

func TestRFC9111_3_4_PartsAreCombinedAndCompleted(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `"a"`}
	e := o.edge(t, nil)
	e.steps(o,
		step{"a part", []string{"range", "bytes=0-2"}, 206, "012", "nearcast; fwd=uri-miss", "bytes=0-2"},
		step{"apart from it", []string{"range", "bytes=6-7"}, 206, "67", "nearcast; fwd=miss", "bytes=6-7"},
		step{"what lies between them", []string{"range", "bytes=1-7"}, 206, "1234567", "nearcast; fwd=partial; fwd-status=206; stored", `bytes=3-5 "a"`},
		step{"all of them", []string{"range", "bytes=0-7"}, 206, "01234567", "nearcast; hit", ""},
		step{"If-Range of this version", []string{"range", "bytes=0-1", "if-range", `"a"`}, 206, "01", "nearcast; hit", ""},
		step{"its validator", []string{"range", "bytes=8-9", "if-none-match", `"a"`}, 304, "", "nearcast; hit", ""},
		step{"the whole fetches the rest", nil, 200, "0123456789", "nearcast; fwd=partial; fwd-status=206; stored", `bytes=8- "a"`},
		step{"and then it is there", nil, 200, "0123456789", "nearcast; hit", ""},
		step{"several ranges", []string{"range", "bytes=0-20"}, 206, "0123456789", "nearcast; hit", ""},
	)
	if n := e.cacheObjects(); n != 1 {
		t.Errorf("%v objects are stored where one is complete", n)
	}
}

func (e *edge) cacheObjects() float64 {
	for line := range strings.SplitSeq(e.metrics(), "\n") {
		var n float64
		if _, err := fmt.Sscanf(line, "nearcast_cache_objects %g", &n); err == nil {
			return n
		}
	}
	return -1
}

func (e *edge) metrics() string {
	var b bytes.Buffer
	e.opts.Set.WritePrometheus(&b)
	return b.String()
}

func TestRFC9110_13_1_5_AnotherVersionReplacesTheParts(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `"a"`}
	e := o.edge(t, nil)
	e.steps(o, step{"a part", []string{"range", "bytes=0-4"}, 206, "01234", "nearcast; fwd=uri-miss", "bytes=0-4"})
	o.become([]byte("abcdefghij"), `"b"`)
	e.steps(o,
		step{"completing it brings the new one", nil, 200, "abcdefghij", "nearcast; fwd=partial; fwd-status=200; stored", `bytes=5- "a"`},
		step{"which is what is stored", []string{"range", "bytes=0-1"}, 206, "ab", "nearcast; hit", ""},
	)

	o = &ranged{content: []byte("0123456789"), tag: `"a"`}
	e = o.edge(t, nil)
	e.steps(o, step{"a part", []string{"range", "bytes=0-4"}, 206, "01234", "nearcast; fwd=uri-miss", "bytes=0-4"})
	o.become([]byte("abcdefghij"), `"b"`)
	e.steps(o,
		step{"so does a range that it has a part of", []string{"range", "bytes=3-6"}, 206, "defg", "nearcast; fwd=partial; fwd-status=200; stored", `bytes=5-6 "a"`},
		step{"and the old part is gone", []string{"range", "bytes=0-1"}, 206, "ab", "nearcast; hit", ""},
	)

	o = &ranged{content: []byte("0123456789"), tag: `"a"`}
	e = o.edge(t, nil)
	e.steps(o, step{"a part", []string{"range", "bytes=0-4"}, 206, "01234", "nearcast; fwd=uri-miss", "bytes=0-4"})
	o.become([]byte("abcdefghij"), `"b"`)
	e.steps(o,
		step{"a part of another version", []string{"range", "bytes=6-7"}, 206, "gh", "nearcast; fwd=miss", "bytes=6-7"},
		step{"takes the old one's place", []string{"range", "bytes=0-1"}, 206, "ab", "nearcast; fwd=miss", "bytes=0-1"},
		step{"If-Range of the old one asks for the whole", []string{"range", "bytes=0-1", "if-range", `"a"`}, 200, "abcdefghij", "nearcast; fwd=miss", ""},
	)
}

func TestRFC9111_3_4_AWeakValidatorCombinesNothing(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `W/"a"`}
	e := o.edge(t, nil)
	e.steps(o,
		step{"a part", []string{"range", "bytes=0-4"}, 206, "01234", "nearcast; fwd=uri-miss", "bytes=0-4"},
		step{"serves by itself", []string{"range", "bytes=1-2"}, 206, "12", "nearcast; hit", ""},
		step{"but is not completed", nil, 200, "0123456789", "nearcast; fwd=miss", ""},
	)
}

func TestWhatOfA206IsNotStored(t *testing.T) {
	for _, tt := range []struct {
		why         string
		more        []string
		body, again string
	}{
		{"no-store", []string{"Cache-Control", "no-store"}, "01234", "bytes=0-4"},
		{"private", []string{"Cache-Control", "private"}, "01234", "bytes=0-4"},
		{"Vary: *", []string{"Vary", "*"}, "01234", "bytes=0-4"},
		{"no freshness", []string{"Cache-Control", "x"}, "01234", "bytes=0-4"},
	} {
		o := &ranged{content: []byte("0123456789"), more: tt.more}
		e := o.edge(t, nil)
		for range 3 {
			e.steps(o, step{tt.why, []string{"range", "bytes=0-4"}, 206, tt.body, "nearcast; fwd=uri-miss", tt.again})
		}
	}
	for why, f := range map[string]func(h http.Header) string{
		"a body longer than the Content-Range": func(h http.Header) string { h.Set("Content-Range", "bytes 4-7/10"); return "01234" },
		"an unknown length":                    func(h http.Header) string { h.Set("Content-Range", "bytes 0-4/*"); return "01234" },
		"no Content-Range":                     func(http.Header) string { return "01234" },
		"several of them": func(h http.Header) string {
			h["Content-Range"] = []string{"bytes 0-4/10", "bytes 0-4/10"}
			return "01234"
		},
		"a multipart answer with a Content-Range": func(h http.Header) string {
			h.Set("Content-Type", "Multipart/Byteranges; boundary=x")
			h.Set("Content-Range", "bytes 0-4/10")
			return "--x--"
		},
		"a multipart answer":    func(h http.Header) string { h.Set("Content-Type", "multipart/byteranges; boundary=x"); return "--x--" },
		"an impossible extent":  func(h http.Header) string { h.Set("Content-Range", "bytes 6-10/10"); return "01234" },
		"a part of other units": func(h http.Header) string { h.Set("Content-Range", "lines 0-4/10"); return "01234" },
	} {
		url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			body := f(w.Header())
			w.WriteHeader(206)
			w.Write([]byte(body))
		})
		e := newEdge(t, map[string][]string{"fra": {url}}, nil)
		for range 3 {
			if c := e.get("/a", "range", "bytes=0-4"); c.status != 206 || c.body.Len() != 5 {
				t.Errorf("%s: %d %q", why, c.status, c.body.String())
			}
			e.settle()
		}
		e.get("/a")
		if n := hits.Load(); n != 4 {
			t.Errorf("%s: the origin was asked %d times", why, n)
		}
	}
}

func TestA206ToNoRangeRequestIsNotStored(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Range", "bytes 0-4/10")
		w.WriteHeader(206)
		w.Write([]byte("01234"))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	e.want("nor does it serve a range", e.get("/a", "range", "bytes=0-1"), 206, "01", "nearcast; fwd=uri-miss")
	if hits.Load() != 2 {
		t.Error("it was stored")
	}
}

func TestAPartThatIsNotTheOneAskedForServesNobodyElse(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.WriteHeader(206)
		w.Write([]byte("56789"))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	c := e.get("/a", "range", "bytes=0-4")
	e.settle()
	if c.status != 206 || c.body.String() != "56789" || c.fields.Get("content-range") != "bytes 5-9/10" {
		t.Errorf("it goes to its client as it came: %d %q %v", c.status, c.body.String(), c.fields)
	}
	n := hits.Load()
	e.want("by its own Content-Range it is good", e.get("/a", "range", "bytes=5-6"), 206, "56", "nearcast; hit")
	if hits.Load() != n {
		t.Error("the origin was asked again")
	}
}

func TestConcurrentRequestsForOneRangeShareOneFetch(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 100)
	o := &ranged{content: numbered(300 << 10), tag: `"a"`}
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-release; o.ServeHTTP(w, r) })
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	var wg sync.WaitGroup
	var bad atomic.Int32
	ask := func() {
		if c := e.get("/a", "range", "bytes=1000-200000"); c.status != 206 || !bytes.Equal(c.body.Bytes(), o.content[1000:200001]) {
			bad.Add(1)
		}
	}
	wg.Go(ask)
	<-asked
	for range 30 {
		wg.Go(ask)
	}
	for strings.Contains(e.metrics(), "nearcast_cache_collapsed_total 30\n") == false {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if hits.Load() != 1 || bad.Load() != 0 {
		t.Errorf("%d fetches, %d bad answers", hits.Load(), bad.Load())
	}
}

func TestRFC9111_4_4_UnsafeMethodsInvalidateParts(t *testing.T) {
	for why, rules := range map[string]cache.KeyRules{"the URL alone": {}, "keys with a field": {Headers: []string{"x-kind"}}} {
		for _, size := range []cache.Size{0, slice} {
			o := &ranged{content: numbered(3 * slice), tag: `"a"`}
			e := o.edge(t, func(_ *Options, s *ServiceConfig) { s.Cache.Key, s.Cache.Slice = rules, size })
			ask, want := []string{"range", "bytes=0-65535", "x-kind", "1"}, string(o.content[:slice])
			for range 2 {
				e.steps(o,
					step{why, ask, 206, want, "nearcast; fwd=uri-miss", "bytes=0-65535"},
					step{why, ask, 206, want, "nearcast; hit", ""})
				e.Serve(context.Background(), &client{}, request("POST", "/a", "x-kind", "2"))
				o.questions()
			}
		}
	}
}

func TestRFC5861_4_AStalePartServesWhenOriginsFail(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `"a"`}
	var failing atomic.Bool
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if failing.Load() {
			w.WriteHeader(503)
			return
		}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.StaleIfError = time.Hour })
	e.get("/a", "range", "bytes=0-4")
	e.settle()
	failing.Store(true)
	reload := []string{"cache-control", "no-cache", "range", "bytes=1-2"}
	e.want("within it", e.get("/a", reload...), 206, "12", "nearcast; fwd=request; fwd-status=503")
	reload[3] = "bytes=4-5"
	if c := e.get("/a", reload...); c.status != 503 {
		t.Errorf("what it lacks: %d", c.status)
	}
}

func TestRFC9111_4_1_PartsAreOfTheirVariant(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		o := &ranged{content: []byte(strings.Repeat(r.Header.Get("X-Kind"), 10)), tag: `"` + r.Header.Get("X-Kind") + `"`, more: []string{"Vary", "X-Kind"}}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	for _, again := range []string{"fwd=", "hit"} {
		for _, kind := range []string{"a", "b"} {
			c := e.get("/a", "x-kind", kind, "range", "bytes=0-4")
			e.settle()
			e.want(kind, c, 206, strings.Repeat(kind, 5), "nearcast; "+again)
		}
	}
	for _, kind := range []string{"a", "b"} {
		e.want("completed", e.get("/a", "x-kind", kind), 200, strings.Repeat(kind, 10), "nearcast; fwd=partial")
	}
}

func TestRFC9110_13_1_5_WhoSharesAFetchIsAnsweredByItsOwnIfRange(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `"a"`}
	e := o.edge(t, nil)
	e.steps(o,
		step{"this version", []string{"range", "bytes=8-9", "if-range", `"a"`}, 206, "89", "nearcast; fwd=uri-miss; fwd-status=206; stored", `bytes=8-9 "a"`},
		step{"a part is stored", []string{"range", "bytes=8-9"}, 206, "89", "nearcast; hit", ""},
		step{"another version", []string{"range", "bytes=0-4", "if-range", `"old"`}, 200, "0123456789", "nearcast; fwd=partial; fwd-status=206; stored", `bytes=0-7 "a"`},
	)
	o.become([]byte("0123456789"), `"b"`)
	e.Serve(context.Background(), &client{}, request("POST", "/a"))
	o.questions()
	e.steps(o,
		step{"one request asks for what its client did", []string{"range", "bytes=0-4", "if-range", `"old"`}, 200, "0123456789", "nearcast; fwd=uri-miss; fwd-status=200; stored", `bytes=0-4 "old"`},
		step{"and the whole is stored", []string{"range", "bytes=1-2"}, 206, "12", "nearcast; hit", ""},
	)
}

// RFC 9530 §2: a Content-Digest is of one message's bytes; RFC 9110 §14.4: a Content-Range means something in a 206 and a 416 alone.
func TestRFC9530_2_APartHasNoDigestOfTheWhole(t *testing.T) {
	content := numbered(100)
	url, _ := counting(t, whole(content, "Content-Digest", "sha-256=:AAAA:", "Content-Md5", "AAAA", "Content-Range", "bytes 0-0/1", "Repr-Digest", "sha-256=:BBBB:"))
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	for _, tt := range []struct {
		asked, contentRange string
		n                   int
	}{{"bytes=1-3", "bytes 1-3/100", 3}, {"bytes=0-1", "bytes 0-1/100", 2}} {
		r := request("GET", "/a", "range", tt.asked)
		var c *client
		if a := e.Quick(r); a != nil {
			c = take(a, r)
		} else {
			c = e.serve(r)
		}
		if c.status != 206 || c.body.Len() != tt.n || strings.Join(c.fields.Values("content-range"), "|") != tt.contentRange || c.fields.Has("content-digest") ||
			c.fields.Has("content-md5") || c.fields.Get("repr-digest") != "sha-256=:BBBB:" {
			t.Errorf("%s: %d, %d bytes, %v", tt.asked, c.status, c.body.Len(), c.fields)
		}
	}
	if c := e.get("/a"); c.fields.Get("content-digest") != "sha-256=:AAAA:" || c.body.Len() != 100 {
		t.Errorf("the whole: %v", c.fields)
	}
}

// RFC 9111 §3.4: of two versions the newer one is stored, be it whole or in parts.
func TestRFC9111_4_APartGivesWayToANewerWhole(t *testing.T) {
	o := &ranged{content: []byte("0123456789"), tag: `"a"`}
	release, arrived := make(chan struct{}), make(chan struct{})
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Slow") != "" { // of the old version, which the other request then is not
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"a"`)
			w.Header().Set("Content-Range", "bytes 0-4/10")
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(206)
			w.(http.Flusher).Flush()
			close(arrived)
			<-release
			w.Write([]byte("01234"))
			return
		}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	c := &client{}
	slow := make(chan struct{})
	go func() {
		defer close(slow)
		e.Serve(context.Background(), c, request("GET", "/a", "range", "bytes=0-4", "x-slow", "1"))
	}()
	<-arrived
	for !strings.Contains(e.metrics(), "nearcast_cache_fills 1\n") {
		time.Sleep(time.Millisecond)
	}
	o.become([]byte("abcdefghij"), `"b"`)
	e.want("the new version", e.get("/a"), 200, "abcdefghij", "nearcast; fwd=uri-miss")
	close(release)
	<-slow
	e.settle()
	if c.body.String() != "01234" || e.cacheObjects() != 1 {
		t.Errorf("%q; %v objects are stored where one is newer", c.body.String(), e.cacheObjects())
	}
}

func TestARangeTooLargeToStoreDoesNotKeepOthersOut(t *testing.T) {
	o := &ranged{content: numbered(400 << 10), tag: `"a"`}
	e := o.edge(t, func(opts *Options, _ *ServiceConfig) {
		opts.Set = metrics.NewSet()
		opts.Cache = cache.New(cache.Config{Memory: 4 << 20, MaxObject: 100 << 10}, opts.Set)
	})
	s := string(o.content)
	e.steps(o,
		step{"what players begin with", []string{"range", "bytes=0-"}, 206, s, "nearcast; fwd=uri-miss", "bytes=0-"},
		step{"and again", []string{"range", "bytes=0-"}, 206, s, "nearcast; fwd=uri-miss", "bytes=0-"},
		step{"one that can't be satisfied", []string{"range", "bytes=500000-"}, 416, "invalid range: failed to overlap\n", "nearcast; fwd=uri-miss", "bytes=500000-"},
		step{"a range of it", []string{"range", "bytes=5-9"}, 206, s[5:10], "nearcast; fwd=uri-miss; fwd-status=206; stored", "bytes=5-9"},
		step{"is stored", []string{"range", "bytes=5-9"}, 206, s[5:10], "nearcast; hit", ""},
	)
}

// TestWhatIsStoredIsHeldWhileTheRestIsFetched: it is neither evicted meanwhile, nor used outside of the budget.
func TestWhatIsStoredIsHeldWhileTheRestIsFetched(t *testing.T) {
	const n = 200 << 10
	o := &ranged{content: numbered(n), tag: `"a"`}
	asked, release := make(chan struct{}), make(chan struct{})
	other := whole(numbered(n), "Etag", `"b"`)
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/a":
			other(w, r)
			return
		case r.Header.Get("If-Range") != "":
			close(asked)
			<-release
		}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(opts *Options, _ *ServiceConfig) {
		opts.Set = metrics.NewSet()
		opts.Cache = cache.New(cache.Config{Memory: 1 << 20, MaxObject: n}, opts.Set)
	})
	e.get("/a", "range", fmt.Sprintf("bytes=0-%d", n-11))
	e.settle()
	c := make(chan *client)
	go func() { c <- e.get("/a") }()
	<-asked
	for i := range 20 {
		e.get(fmt.Sprintf("/%d", i))
		for !strings.Contains(e.metrics(), "nearcast_cache_fills 1\n") {
			time.Sleep(time.Millisecond)
		}
	}
	close(release)
	if got := <-c; got.status != 200 || !bytes.Equal(got.body.Bytes(), o.content) {
		t.Errorf("%d, %d bytes", got.status, got.body.Len())
	}
	e.settle()
	o.questions()
	if e.get("/a", "range", "bytes=0-9"); o.questions() != "" {
		t.Error("what was stored had been evicted while its reader waited for the rest")
	}
}
