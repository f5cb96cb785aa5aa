package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"nearcast/cache"
	"nearcast/health"
	"nearcast/proxy/message"
)

// shelf is an origin with an answer of each kind that matters to a hit, and what a client may ask of it.
func shelf(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "max-age=600")
	h.Set("Alt-Svc", "h3=\":1\"")
	h.Set("Last-Modified", "Sun, 01 Mar 2020 11:00:00 GMT")
	h.Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/etag":
		h.Set("ETag", `"1"`)
		io.WriteString(w, "etag")
	case "/large":
		io.WriteString(w, strings.Repeat("0123456789", 20_000))
	case "/empty":
		w.WriteHeader(200)
	case "/gone":
		w.WriteHeader(404)
		io.WriteString(w, "gone")
	case "/none":
		w.WriteHeader(204)
	case "/trailers":
		h.Set("Trailer", "Digest")
		io.WriteString(w, "body")
		h.Set("Digest", "x")
	case "/vary":
		h.Set("Vary", "Accept-Language")
		io.WriteString(w, r.Header.Get("Accept-Language"))
	case "/stale":
		h.Set("Cache-Control", "max-age=0, stale-while-revalidate=1000")
		io.WriteString(w, "stale")
	case "/private":
		h.Set("Cache-Control", "private")
		io.WriteString(w, "private")
	default:
		io.WriteString(w, "hello")
	}
}

// shelfPaths are its paths, and how often Quick must have answered the plain GET.
var shelfPaths = []string{"/a", "/a?x=1", "/etag", "/large", "/empty", "/gone", "/none", "/trailers", "/vary", "/stale", "/private"}

// take sends a ready answer as a front end does, and returns what its client saw. The block is encoded anew, as text.
func take(a *message.Ready, r *message.Request) *client {
	c := &client{status: a.Status, length: a.ContentLength}
	if a.Block != nil {
		encoded := a.Block.Encoded(r.Protocol, func(dst []byte, f message.Fields) []byte {
			b, _ := json.Marshal(f)
			return append(dst, b...)
		})
		if err := json.Unmarshal(encoded, &c.fields); err != nil {
			panic(err)
		}
	}
	for _, f := range a.Fields {
		c.fields.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
	if a.Body != nil {
		for p := a.Body.Next(); p != nil; p = a.Body.Next() {
			c.body.Write(p)
		}
	}
	if int64(c.body.Len()) != a.BodyLength {
		panic(fmt.Sprintf("%d bytes of body, %d declared", c.body.Len(), a.BodyLength))
	}
	a.Done(a.BodyLength, true)
	return c
}

func newShelf(t testing.TB, change func(*Options, *ServiceConfig)) *edge {
	s := httptest.NewServer(http.HandlerFunc(shelf))
	t.Cleanup(s.Close)
	e := newEdge(t, map[string][]string{"fra": {s.URL}}, change)
	for _, path := range shelfPaths {
		e.Serve(t.Context(), &client{}, request("GET", path))
	}
	e.settle()
	return e
}

// asked are the requests of the comparison, beyond the plain one: the fields that they have.
var asked = [][]string{
	{},
	{"if-none-match", `"1"`}, {"if-none-match", `W/"1", "2"`}, {"if-none-match", `"2"`}, {"if-none-match", "*"},
	{"if-modified-since", "Sun, 01 Mar 2020 11:00:00 GMT"}, {"if-modified-since", "Sat, 29 Feb 2020 11:00:00 GMT"}, {"if-modified-since", "Sunday, 01-Mar-20 11:00:00 GMT"},
	{"range", "bytes=0-0"}, {"range", "bytes=1-"}, {"range", "bytes=-2"}, {"range", "bytes=70000-140000"}, {"range", "bytes=0-1,3-4"}, {"range", "bytes=900000-"}, {"range", "bytes=2-1"},
	{"range", "bytes=1-2", "if-range", `"1"`}, {"range", "bytes=1-2", "if-range", `"2"`}, {"range", "bytes=1-2", "if-range", "Sun, 01 Mar 2020 11:00:00 GMT"},
	{"if-match", `"1"`}, {"if-match", `"2"`}, {"if-unmodified-since", "Sun, 01 Mar 2020 11:00:00 GMT"},
	{"cache-control", "no-cache"}, {"cache-control", "max-age=1000"}, {"cache-control", "only-if-cached"}, {"cache-control", "no-store"}, {"cache-control", "min-fresh=1000"},
	{"pragma", "no-cache"}, {"authorization", "Basic eA=="}, {"cookie", "a=b"}, {"accept-language", "en"}, {"accept-encoding", "gzip, br"},
	{"x-http-method-override", "DELETE"}, {"cdn-loop", "other"}, {"cdn-loop", "nearcast; edge=fra-1"}, {"early-data", "1"},
}

// mustBeReady are the requests that have to be answered by Quick; none of the others may be answered otherwise than by Serve.
func mustBeReady(path string, fields []string) bool {
	switch path {
	case "/trailers", "/stale", "/private", "/other", "*", health.SelfPath:
		return false
	}
	return len(fields) == 0 || path == "/large" && strings.HasPrefix(fields[1], "bytes=7") || path == "/etag" && fields[0] == "if-none-match"
}

func TestQuickAnswersAsServeDoes(t *testing.T) {
	e := newShelf(t, nil)
	ready := 0
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE"} {
		for _, host := range []string{"shop.example", "shop.example:443", "SHOP.example.", "other.example", "", "a b"} {
			for _, path := range append([]string{"/other", "*", health.SelfPath}, shelfPaths...) {
				for _, fields := range asked {
					if compare(t, e, method, host, path, fields) {
						ready++
					} else if method == "GET" && host == "shop.example" && mustBeReady(path, fields) {
						t.Errorf("%s %s %q: Quick left it to Serve", method, path, fields)
					}
				}
			}
		}
	}
	if ready < 200 {
		t.Errorf("only %d answers were compared", ready)
	}
}

// compare serves the request both ways and reports whether Quick had an answer.
func compare(t *testing.T, e *edge, method, host, path string, fields []string) (ready bool) {
	t.Helper()
	make := func() *message.Request {
		r := request(method, path, fields...)
		r.Authority = host
		return r
	}
	r := make()
	a := e.Quick(r)
	if a == nil {
		return false
	}
	if e.cache == nil {
		t.Fatal("no cache")
	}
	got, want := take(a, r), e.serve(make())
	if want.status == 204 { // of which no length is declared, whatever Serve is told
		want.length = -1
	}
	dropTimes(got.fields)
	dropTimes(want.fields)
	if got.status != want.status || got.length != want.length || got.body.String() != want.body.String() || !reflect.DeepEqual(got.fields, want.fields) {
		t.Errorf("%s %s %q of %q:\nQuick %d, %d, %d bytes, %v\nServe %d, %d, %d bytes, %v", method, path, fields, host,
			got.status, got.length, got.body.Len(), got.fields, want.status, want.length, want.body.Len(), want.fields)
	}
	return true
}

// dropTimes takes out what a second between the two answers may change.
func dropTimes(f message.Fields) {
	for i := range f {
		switch f[i].Name {
		case "age", "date":
			f[i].Value = ""
		case "cache-status":
			f[i].Value, _, _ = strings.Cut(f[i].Value, "ttl=")
		}
	}
}

func FuzzQuickAnswersAsServeDoes(f *testing.F) {
	f.Add("GET", "shop.example", "/etag", "if-none-match", `"1"`, "range", "bytes=0-1")
	f.Add("HEAD", "shop.example:443", "/large", "range", "bytes=1-70000", "if-range", `"1"`)
	f.Add("GET", "[::1]:443", "/a?x=1", "cache-control", "max-age=1", "pragma", "no-cache")
	e := newShelf(f, nil)
	f.Fuzz(func(t *testing.T, method, host, path, name1, value1, name2, value2 string) {
		if _, err := message.ParseTarget(path); err != nil || name1 == "host" || !message.IsLowerToken(name1) || !message.IsLowerToken(name2) {
			return
		}
		compare(t, e, method, host, path, []string{name1, value1, name2, value2})
	})
}

func TestWhatQuickHasFoundServeNeedNotLookFor(t *testing.T) {
	e := newShelf(t, nil)
	r := request("GET", "/trailers")
	if e.Quick(r) != nil {
		t.Fatal("a Ready has no trailers")
	}
	q, ok := r.State.(*quick)
	if !ok || q.service == nil || q.result.State != cache.Hit {
		t.Fatalf("nothing is handed on: %+v", r.State)
	}
	c := e.serve(r)
	if c.status != 200 || c.body.String() != "body" || c.trailers.Get("digest") != "x" || r.State != nil {
		t.Errorf("got %d %q %v, state %v", c.status, c.body.String(), c.trailers, r.State)
	}
}

func TestAReadyRedirect(t *testing.T) {
	e := newShelf(t, nil)
	for _, c := range []struct{ host, target, want string }{
		{"shop.example:80", "/a?b=c", "https://shop.example:8443/a?b=c"},
		{"shop.example", "/" + strings.Repeat("x", 4000), "https://shop.example:8443/" + strings.Repeat("x", 4000)},
	} {
		r := request("GET", c.target)
		r.Scheme, r.Authority, r.RedirectPort = "http", c.host, 8443
		a := e.Quick(r)
		if a == nil {
			t.Fatal("not ready")
		}
		if got := take(a, r); got.status != 308 || got.fields.Get("location") != c.want || got.fields.Get("date") == "" || got.length != 0 {
			t.Errorf("got %d %v, %d bytes", got.status, got.fields, got.length)
		}
	}
}

func TestAnIncompleteReadyAnswerSaysWhoseDoingItWas(t *testing.T) {
	var log strings.Builder
	e := newShelf(t, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, `"blame":"client","reason":"client went away","incomplete":true`},
		{errors.New("time is up"), `"blame":"edge","reason":"edge stopped","error":"time is up","incomplete":true`},
	} {
		log.Reset()
		a := e.Quick(request("GET", "/large"))
		a.Err = c.err
		a.Done(17, false)
		if got := log.String(); !strings.Contains(got, c.want) || !strings.Contains(got, `"status":200,"bytes_out":17,`) {
			t.Errorf("%v: logged %s", c.err, got)
		}
	}
	m := e.table.services[0].meters
	if m.incomplete[message.BlameClient].Get() != 1 || m.incomplete[message.BlameEdge].Get() != 1 {
		t.Error("they are not counted")
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	plain := newShelf(t, nil) // the log is on
	ruled := newShelf(t, func(_ *Options, s *ServiceConfig) {
		s.Cache.Key = cache.KeyRules{Device: true, Headers: []string{"accept-language"}, Query: cache.QueryRules{Mode: cache.QueryDeny, Names: []string{"utm_*"}, Sort: true}}
		s.Cache.Compress.Enabled, s.Cache.CacheStatus = true, cache.StatusFull
	})
	for _, e := range []*edge{plain, ruled} {
		allocatesNothing(t, e)
	}
	r := request("GET", "/a")
	r.RedirectPort = 443
	if n := testing.AllocsPerRun(500, func() { a := plain.Quick(r); a.Done(0, true) }); n != 0 && !raced {
		t.Errorf("a redirect: %v allocations", n)
	}
	r = inEarlyData(request("GET", "/a"), newShaking())
	if n := testing.AllocsPerRun(500, func() { a := plain.Quick(r); a.Done(0, true) }); n != 0 && !raced {
		t.Errorf("in early data: %v allocations", n)
	}
}

func allocatesNothing(t *testing.T, e *edge) {
	t.Helper()
	for _, fields := range [][]string{
		{}, {"accept-encoding", "gzip, br;q=0.5"}, {"cache-control", "max-age=100"},
		{"range", "bytes=1-2"}, {"range", "bytes=1-"}, {"range", "bytes=-2"}, {"range", "bytes=1-2", "if-range", `"1"`},
		{"range", "bytes=1-2", "if-range", "Sun, 01 Mar 2020 11:00:00 GMT"}, {"range", "bytes=1-2", "if-none-match", `"1"`},
		{"if-none-match", `"1"`}, {"if-none-match", `W/"1", "2"`}, {"if-none-match", "*"}, {"if-none-match", `"2"`}, {"if-match", `"1"`},
		{"if-modified-since", "Sun, 01 Mar 2020 11:00:00 GMT"}, {"if-unmodified-since", "Sun, 01 Mar 2020 11:00:00 GMT"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := request(method, "/etag", append(fields, "user-agent", "a \"browser\" \xff", "accept", "*/*")...)
			r.TLS = &message.TLS{Version: 0x304}
			hit := func() {
				a := e.Quick(r)
				if a == nil {
					t.Fatal("not ready")
				}
				if a.Body != nil {
					a.Body.Next()
				}
				a.Done(a.BodyLength, true)
			}
			hit()
			if n := testing.AllocsPerRun(500, hit); n != 0 && !raced {
				t.Errorf("%s %q: %v allocations", method, fields, n)
			}
		}
	}
}

// TestReadyAnswersOutliveTheirObject holds answers while their objects are purged, evicted and fetched again; the race detector judges,
// and the bytes, which must stay what they were.
func TestReadyAnswersOutliveTheirObject(t *testing.T) {
	e := newShelf(t, func(o *Options, _ *ServiceConfig) {
		o.Cache = cache.New(cache.Config{Memory: 1 << 20, MaxObject: 1 << 20}, nil)
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var held []*message.Ready
			var of []*message.Request
			drop := func() {
				for i, a := range held {
					if got := take(a, of[i]).body.Len(); int64(got) != 200_000 {
						t.Errorf("%d bytes", got)
					}
				}
				held, of = nil, nil
			}
			for i := range 200 {
				r := request("GET", fmt.Sprintf("/large?%d", (i+g)%8))
				if a := e.Quick(r); a != nil {
					held, of = append(held, a), append(of, r)
				} else {
					e.Serve(t.Context(), &client{}, r)
				}
				if i%7 == 0 {
					e.cache.Purge(cache.KeyOf("shop", r))
				}
				if i%5 == 0 {
					drop()
				}
			}
			drop()
		})
	}
	wg.Wait()
}

func TestHitsAreCounted(t *testing.T) {
	e := newShelf(t, nil)
	m := e.table.services[0].meters
	before, sent := m.cache[cacheHit].Get(), m.bytes.Get()
	take(e.Quick(request("GET", "/a")), request("GET", "/a"))
	if m.cache[cacheHit].Get() != before+1 || m.bytes.Get() != sent+5 {
		t.Errorf("%d hits and %d bytes more", m.cache[cacheHit].Get()-before, m.bytes.Get()-sent)
	}
}

func BenchmarkQuickHit(b *testing.B) {
	for _, c := range []struct {
		name string
		log  io.Writer
	}{{"log", io.Discard}, {"nolog", nil}} {
		b.Run(c.name, func(b *testing.B) {
			e := newShelf(b, func(o *Options, _ *ServiceConfig) { o.AccessLog = c.log })
			r := request("GET", "/a?x=1", "user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept", "*/*",
				"accept-encoding", "gzip, deflate, br", "accept-language", "en-GB,en;q=0.5", "cookie", "a=b", "referer", "https://shop.example/", "sec-fetch-dest", "empty", "sec-fetch-mode", "cors")
			r.TLS = &message.TLS{Version: 0x304}
			b.ReportAllocs()
			for b.Loop() {
				a := e.Quick(r)
				a.Body.Next()
				a.Done(a.BodyLength, true)
			}
		})
	}
}

// BenchmarkQuickHitParallel is one object that all processors answer from.
func BenchmarkQuickHitParallel(b *testing.B) {
	e := newShelf(b, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := request("GET", "/a?x=1", "user-agent", "Mozilla/5.0", "accept", "*/*")
		for pb.Next() {
			a := e.Quick(r)
			a.Body.Next()
			a.Done(a.BodyLength, true)
		}
	})
}
