package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"nearcast/cache"
)

// failsLater is an origin whose second answer and all after it are those of fail. The first is stale at once, with those directives.
func failsLater(t *testing.T, cacheControl string, fail http.HandlerFunc) string {
	t.Helper()
	var n atomic.Int32
	return originServer(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 {
			fail(w, r)
			return
		}
		w.Header().Set("Cache-Control", cacheControl)
		w.Header().Set("Etag", `"a"`)
		io.WriteString(w, "stored")
	})
}

// hangUp closes the connection.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// garbage answers with what is no HTTP.
func garbage(w http.ResponseWriter, _ *http.Request) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		io.WriteString(c, "HTTP/1.1 9x9 Odd\r\n\r\n")
		c.Close()
	}
}

func TestRFC9111_4_2_4_AndWithoutTheOrigin(t *testing.T) {
	for _, tt := range []struct {
		why, cacheControl string
		fail              http.HandlerFunc
		off               bool
		status            int
		body, cacheStatus string
	}{
		{"no answer", "max-age=0", hangUp, false, 200, "stored", `nearcast; hit; ttl=-1; detail="disconnected"`},
		{"switched off", "max-age=0", hangUp, true, 502, "502 Bad Gateway\n", ""},
		{"an error is an answer", "max-age=0", status(503), false, 503, "", "nearcast; fwd=stale; fwd-status=503"},
		{"so is what is no HTTP", "max-age=0", garbage, false, 502, "502 Bad Gateway\n", ""},
		{"§5.2.2.2 must-revalidate", "max-age=0, must-revalidate", hangUp, false, 504, "504 Gateway Timeout\n", ""},
		{"§5.2.2.8 proxy-revalidate", "max-age=0, proxy-revalidate", hangUp, false, 504, "504 Gateway Timeout\n", ""},
		{"§5.2.2.10 s-maxage", "s-maxage=0", hangUp, false, 504, "504 Gateway Timeout\n", ""},
		{"§5.2.2.4 no-cache", "max-age=60, no-cache", hangUp, false, 504, "504 Gateway Timeout\n", ""},
	} {
		e := newEdge(t, map[string][]string{"fra": {failsLater(t, tt.cacheControl, tt.fail)}}, func(_ *Options, s *ServiceConfig) {
			if tt.off {
				s.Cache.StaleOnDisconnect = 0
			}
		})
		e.get("/")
		e.settle()
		for range 2 { // the second finds the origin suspect
			c := e.get("/")
			got := c.fields.Get("cache-status")
			if tt.status == 200 && !strings.Contains(got, `detail="disconnected"`) {
				t.Errorf("%s: Cache-Status %q", tt.why, got)
			}
			e.want(tt.why, c, tt.status, tt.body, strings.SplitN(tt.cacheStatus, "ttl", 2)[0])
		}
	}
}

func TestStaleWhenNoOriginIsLeft(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("Etag", `"a"`)
		io.WriteString(w, "stored")
	}))
	var log bytes.Buffer
	e := newEdge(t, map[string][]string{"fra": {s.URL}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	e.get("/")
	e.settle()
	s.Close()
	e.want("refused", e.get("/"), 200, "stored", "nearcast; hit; ttl=")
	e.want("a client's condition", e.get("/", "if-none-match", `"a"`), 304, "", "nearcast; hit; ttl=")
	if got := log.String(); !strings.Contains(got, `"cache":"stale"`) || !strings.Contains(got, `disconnected`) {
		t.Errorf("the log says %s", got)
	}
}

func TestRFC9110_9_3_3_PostIsKeptOnItsWay(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Location", r.RequestURI)
		if r.URL.Path == "/big" {
			io.WriteString(w, big)
			return
		}
		io.WriteString(w, r.Method)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) {
		o.Cache = cache.New(cache.Config{Memory: 8 << 20, MaxObject: 1 << 20}, nil)
	})
	post := func(path string, fields ...string) *client {
		r := request("POST", path, fields...)
		r.Body, r.ContentLength = strings.NewReader("abc"), 3
		return e.serve(r)
	}
	e.want("the POST", post("/a"), 200, "POST", "nearcast; fwd=method; fwd-status=200; stored")
	e.want("then a GET", e.get("/a"), 200, "POST", "nearcast; hit")
	e.want("each goes to the origin", post("/a"), 200, "POST", "nearcast; fwd=method")
	if n := hits.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	post("/b", "x-http-method-override", "PUT")
	e.want("what changes the meaning is not kept", e.get("/b"), 200, "GET", "nearcast; fwd=uri-miss")
	if c := post("/big"); c.body.Len() != len(big) {
		t.Errorf("%d bytes of one that is too large", c.body.Len())
	}
	if c := e.get("/big"); c.body.Len() != len(big) || !strings.Contains(c.fields.Get("cache-status"), "fwd") {
		t.Errorf("%d bytes, %q", c.body.Len(), c.fields.Get("cache-status"))
	}
}

func TestAPostThatItsClientLeavesIsNotKept(t *testing.T) {
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Location", "/a")
		io.WriteString(w, strings.Repeat(r.Method, 100<<10))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.Serve(t.Context(), &client{failWith: io.ErrClosedPipe}, request("POST", "/a"))
	e.want("a GET", e.get("/a"), 200, strings.Repeat("GET", 100<<10), "nearcast; fwd=uri-miss")
}

func TestRFC9111_4_3_5_HeadGoesThroughWhenStale(t *testing.T) {
	methods := make(chan string, 3)
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		methods <- r.Method
		w.Header().Set("X-By", r.Method)
		w.Header().Set("Cache-Control", map[string]string{"GET": "max-age=60", "HEAD": "max-age=600"}[r.Method])
		if r.Method == "GET" {
			w.Header().Set("Age", "60")
			w.Header().Set("Cache-Control", "max-age=60, stale-if-error=1")
		}
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/")
	e.settle()
	e.want("the HEAD", e.serve(request("HEAD", "/")), 200, "", "nearcast; fwd=stale; fwd-status=200; stored")
	c := e.get("/")
	e.want("then a GET", c, 200, "body", "nearcast; hit")
	if c.fields.Get("x-by") != "HEAD" {
		t.Errorf("%v: the HEAD's fields", c.fields)
	}
	if a, b := <-methods, <-methods; a != "GET" || b != "HEAD" {
		t.Errorf("%s, %s", a, b)
	}
}
