package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/geo"
	"nearcast/health"
	"nearcast/proxy/message"
)

// client records what a client would have seen of one exchange.
type client struct {
	status   int
	fields   message.Fields
	length   int64
	body     bytes.Buffer
	trailers message.Fields
	informed []int
	aborted  bool
	failWith error           // of Write: a client that went away
	wrote    chan<- struct{} // told of a Write; may be nil
}

func (c *client) WriteInformational(status int, _ message.Fields) error {
	c.informed = append(c.informed, status)
	return nil
}

func (c *client) WriteHeader(status int, f message.Fields, length int64) error {
	if c.status != 0 {
		panic("a second header section")
	}
	c.status, c.fields, c.length = status, f, length
	return nil
}

func (c *client) Write(p []byte) (int, error) {
	if c.failWith != nil {
		return 0, c.failWith
	}
	select {
	case c.wrote <- struct{}{}:
	default:
	}
	return c.body.Write(p)
}
func (c *client) Flush() error                         { return nil }
func (c *client) WriteTrailers(f message.Fields) error { c.trailers = f; return nil }
func (c *client) Abort()                               { c.aborted = true }
func (c *client) SwitchProtocols(message.Fields) (message.Tunnel, error) {
	return nil, errors.ErrUnsupported
}

// edge is a proxy in front of origins that the test made.
type edge struct {
	*Proxy
	t testing.TB
}

// newEdge builds a proxy whose service "shop" has the given origin URLs by region.
func newEdge(t testing.TB, origins map[string][]string, change func(*Options, *ServiceConfig)) *edge {
	t.Helper()
	var svc ServiceConfig
	svc.SetDefaults()
	svc.Hosts, svc.Origins = []string{"shop.example"}, origins
	svc.Upstream.ResponseTimeout = 20 * time.Second
	var cfg cache.Config
	cfg.SetDefaults()
	set := metrics.NewSet()
	o := Options{Edge: "fra-1", Region: "fra", Set: set, AccessLog: io.Discard, MaxBody: 1 << 20, MaxHeader: 64 << 10, SelfToken: "secret", Cache: cache.New(cfg, set),
		Regions: map[string]geo.Region{"fra": {Location: geo.Location{50, 8}}, "nyc": {Location: geo.Location{40, -74}}, "tyo": {Location: geo.Location{35, 139}}}}
	if change != nil {
		change(&o, &svc)
	}
	o.Services = map[string]ServiceConfig{"shop": svc}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &edge{p, t}
}

func request(method, target string, fields ...string) *message.Request {
	parsed, err := message.ParseTarget(target)
	if err != nil {
		panic(err)
	}
	r := &message.Request{Protocol: message.HTTP2, Method: method, Scheme: "https", Authority: "shop.example", Target: parsed,
		Client: netip.MustParseAddrPort("203.0.113.9:4711"), Received: time.Now()}
	for i := 0; i < len(fields); i += 2 {
		r.Fields.Add(fields[i], fields[i+1])
	}
	return r
}

func (e *edge) serve(r *message.Request) *client {
	c := &client{}
	e.Serve(context.Background(), c, r)
	return c
}

func (e *edge) get(target string, fields ...string) *client {
	e.t.Helper()
	return e.serve(request("GET", target, fields...))
}

func originServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func deadOrigin(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	s.Close()
	return s.URL
}

func TestWhatGoesToTheOriginIsRebuilt(t *testing.T) {
	arrived := make(chan *http.Request, 1)
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) { arrived <- r.Clone(context.Background()) })}}, nil)
	r := request("POST", "/cart?x=1", "x-forwarded-for", "1.2.3.4", "forwarded", "for=1.2.3.4", "x-real-ip", "1.2.3.4", "te", "trailers", "accept", "*/*", "cdn-loop", "other")
	if c := e.serve(r); c.status != 200 {
		t.Fatalf("status %d: %s", c.status, c.body.String())
	}
	got := <-arrived
	for name, want := range map[string]string{
		"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example",
		"Forwarded": `for=203.0.113.9;host="shop.example";proto=https`, "Via": "2.0 fra-1 (nearcast)", "Accept": "*/*",
		"X-Real-Ip": "", "Te": "", "User-Agent": "",
	} {
		if v := strings.Join(got.Header.Values(name), ", "); v != want {
			t.Errorf("%s: the origin got %q, want %q", name, v, want)
		}
	}
	if v := got.Header.Values("Cdn-Loop"); !slices.Equal(v, []string{"other", "nearcast; edge=fra-1"}) {
		t.Errorf("CDN-Loop: %q", v)
	}
	if got.Host != "shop.example" || got.RequestURI != "/cart?x=1" || got.Method != "POST" {
		t.Errorf("the origin got %s %s for %s", got.Method, got.RequestURI, got.Host)
	}
}

func TestRequestsThatMustNotGoFurther(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the origin") })}}, nil)
	with := func(r *message.Request, change func(*message.Request)) *message.Request { change(r); return r }
	for _, c := range []struct {
		what   string
		r      *message.Request
		status int
	}{
		{"no host", with(request("GET", "/"), func(r *message.Request) { r.Authority = "" }), 400},
		{"a host with a path", with(request("GET", "/"), func(r *message.Request) { r.Authority = "shop.example/x" }), 400},
		{"an unknown host", with(request("GET", "/"), func(r *message.Request) { r.Authority = "other.example" }), 421},
		{"CONNECT", request("CONNECT", "/"), 405},
		{"TRACE", request("TRACE", "/"), 405},
		{"a method that is no token", request("GE T", "/"), 400},
		{"* without OPTIONS", request("GET", "*"), 400},
		{"a body over the limit", with(request("POST", "/"), func(r *message.Request) { r.ContentLength = 2 << 20 }), 413},
		{"our own name in CDN-Loop", request("GET", "/", "cdn-loop", "nearcast; edge=fra-1"), 508},
		{"too many edges", request("GET", "/", "cdn-loop", "nearcast; edge=a, nearcast; edge=b", "cdn-loop", "x, nearcast; edge=c, nearcast"), 508},
	} {
		if got := e.serve(c.r); got.status != c.status || !strings.HasPrefix(got.fields.Get("proxy-status"), "fra-1; error=") {
			t.Errorf("%s: status %d, proxy-status %q; want %d", c.what, got.status, got.fields.Get("proxy-status"), c.status)
		}
	}
}

func TestABodyOfUnknownLengthIsCutAtTheLimit(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })}}, nil)
	for size, status := range map[int]int{1 << 20: 200, 1<<20 + 1: 413} {
		r := request("POST", "/")
		r.ContentLength, r.Body = -1, io.LimitReader(zeros{}, int64(size))
		if got := e.serve(r); got.status != status {
			t.Errorf("%d bytes: status %d, want %d", size, got.status, status)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTheSelfProbeIsAnsweredOnlyToItsOwnToken(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) })}}, nil)
	if c := e.get(health.SelfPath, health.SelfField, "secret"); c.status != 200 || c.fields.Get(health.SelfField) != health.SelfReply("secret") {
		t.Errorf("the edge's own probe got %d %v", c.status, c.fields)
	}
	if c := e.get(health.SelfPath, health.SelfField, "guess"); c.status != 404 {
		t.Errorf("anyone else's must be an ordinary request: got %d", c.status)
	}
}

func TestADeadOriginFailsNoRequest(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	alive := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+string(b))
	})
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}, "nyc": {alive}}, nil)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		r := request(method, "/")
		r.Body, r.ContentLength = strings.NewReader("x"), 1
		if c := e.serve(r); c.status != 200 {
			t.Errorf("%s: status %d; a refused connection has taken nothing of the request", method, c.status)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"GET x", "POST x", "DELETE x"}; !slices.Equal(seen, want) {
		t.Errorf("the living origin saw %q, want %q", seen, want)
	}
	if got := e.table.services[0].origins[0].meters.requests.Get(); got != 1 {
		t.Errorf("the dead origin was tried %d times: after the first it stands behind", got)
	}
}

func TestARequestThatMayHaveBeenActedOnIsNotSentTwice(t *testing.T) {
	var hits atomic.Int32
	hangUp := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		c, _, _ := w.(http.Hijacker).Hijack()
		c.Close()
	})
	other := originServer(t, func(w http.ResponseWriter, r *http.Request) {})
	e := newEdge(t, map[string][]string{"fra": {hangUp}, "nyc": {other}}, nil)
	if c := e.serve(request("POST", "/")); c.status != 502 {
		t.Errorf("POST: status %d, want 502", c.status)
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("POST was sent %d times", n)
	}
	e.table.services[0].origins[0].suspect.clear()
	if c := e.get("/"); c.status != 200 {
		t.Errorf("GET: status %d; it is safe to ask another origin", c.status)
	}
}

func TestWithoutAnyOriginTheAnswerSaysSo(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	c := e.get("/")
	if c.status != 502 || c.fields.Get("proxy-status") != `fra-1; error=connection_refused; details="connection refused"` {
		t.Errorf("got %d %v", c.status, c.fields)
	}
	if c.fields.Get("cache-control") != "no-store" {
		t.Error("nobody may keep the edge's own error")
	}
}

func TestAResponseCutShortIsSeenAsIncomplete(t *testing.T) {
	cut := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "short")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	e := newEdge(t, map[string][]string{"fra": {cut}}, nil)
	if c := e.get("/"); c.status != 200 || !c.aborted {
		t.Errorf("got %d, aborted %v: the client must not take it for the whole", c.status, c.aborted)
	}
}

func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		close(gone)
	})}}, nil)
	c := &client{}
	e.Serve(ctx, c, request("POST", "/"))
	if !c.aborted {
		t.Error("there is nobody to answer")
	}
	<-gone
}

func TestEarlyHintsAndTrailersPass(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(103)
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	})}}, nil)
	c := e.serve(request("POST", "/"))
	if !slices.Equal(c.informed, []int{103}) || c.trailers.Get("x-sum") != "1" || c.body.String() != "body" {
		t.Errorf("informed %v, trailers %v, body %q", c.informed, c.trailers, c.body.String())
	}
}

func TestRetryDecision(t *testing.T) {
	origin := func(safe bool) *message.Error { return &message.Error{Blame: message.BlameOrigin, RetrySafe: safe} }
	for _, c := range []struct {
		method  string
		touched bool
		err     *message.Error
		want    bool
		why     string
	}{
		{"POST", false, origin(true), true, "nothing was sent"},
		{"POST", false, origin(false), false, "it may have been acted on"},
		{"GET", false, origin(false), true, "idempotent"},
		{"PUT", true, origin(true), false, "part of the body is gone"},
		{"GET", false, &message.Error{Blame: message.BlameClient, RetrySafe: true}, false, "nobody waits for it"},
		{"PATCH", false, &message.Error{Blame: message.BlameEdge, RetrySafe: true}, true, "our own limit for one origin"},
	} {
		if got := mayRetry(c.method, c.touched, c.err); got != c.want {
			t.Errorf("%s, touched %v, %+v: %v, want %v: %s", c.method, c.touched, c.err, got, c.want, c.why)
		}
	}
}

func TestErrorsWithoutABlameAreOurs(t *testing.T) {
	if e := asError(errors.New("x")); e.Blame != message.BlameEdge || e.Status != 500 {
		t.Errorf("got %+v", e)
	}
	if e := asError(context.Canceled); e.Blame != message.BlameClient || e.Status != 499 {
		t.Errorf("got %+v", e)
	}
}

func TestEveryMetricHasHelp(t *testing.T) {
	set := metrics.NewSet()
	m := newMeters(set)
	m.origin("shop", "http://x")
	for _, name := range set.ListMetricNames() {
		name, _, _ = strings.Cut(name, "{")
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
}
