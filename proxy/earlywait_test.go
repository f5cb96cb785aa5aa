package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"nearcast/proxy/message"
)

// shaking is a handshake in progress.
type shaking struct {
	waits    chan struct{} // gets one for each that waits
	complete chan struct{}
	end      sync.Once
	failure  error // of Wait, at once
}

func newShaking() *shaking {
	return &shaking{waits: make(chan struct{}, 16), complete: make(chan struct{})}
}

func (s *shaking) finish() { s.end.Do(func() { close(s.complete) }) }

func (s *shaking) Complete() bool {
	select {
	case <-s.complete:
		return true
	default:
		return false
	}
}

func (s *shaking) Wait(ctx context.Context) (*message.TLS, error) {
	s.waits <- struct{}{}
	if s.failure != nil {
		return nil, s.failure
	}
	select {
	case <-s.complete:
		return &message.TLS{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inEarlyData is r as it comes in early data.
func inEarlyData(r *message.Request, s *shaking) *message.Request {
	r.TLS = &message.TLS{Version: 0x304, EarlyData: true, Handshake: s}
	return r
}

// told is an origin that notes what it is told of early data, and refuses what it is told so of below /refused.
type told struct {
	mu  sync.Mutex
	got []string // the field of each request
}

func (o *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	early := r.Header.Get("Early-Data")
	o.mu.Lock()
	o.got = append(o.got, early)
	o.mu.Unlock()
	w.Header().Set("Cache-Control", "max-age=60")
	if early != "" && strings.HasPrefix(r.URL.Path, "/refused") || r.URL.Path == "/always" {
		w.WriteHeader(http.StatusTooEarly)
		io.WriteString(w, "too early")
		return
	}
	io.WriteString(w, "early-data: "+early)
}

// requests are the fields of all requests so far.
func (o *told) requests() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.got, ",")
}

func (o *told) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.got)
}

func newTold(t *testing.T, change func(*Options, *ServiceConfig)) (*told, *edge) {
	o := &told{}
	return o, newEdge(t, map[string][]string{"fra": {originServer(t, o.ServeHTTP)}}, change)
}

// counted is the value of a metric.
func (e *edge) counted(name string) string {
	for line := range strings.Lines(e.metrics()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return "none"
}

func TestWhatMustNotRunEarlyWaits(t *testing.T) {
	off := func(_ *Options, s *ServiceConfig) { s.EarlyData = EarlyDataOff }
	for _, c := range []struct {
		why     string
		change  func(*Options, *ServiceConfig)
		request func() *message.Request
		waits   bool
	}{
		{"GET", nil, func() *message.Request { return request("GET", "/") }, false},
		{"a range, with credentials", nil, func() *message.Request {
			return request("GET", "/", "range", "bytes=0-3", "authorization", "Basic eA==", "cookie", "a=b")
		}, false},
		{"POST", nil, func() *message.Request { return request("POST", "/") }, true},
		{"a method that nobody knows", nil, func() *message.Request { return request("BREW", "/") }, true},
		{"PURGE", nil, func() *message.Request { return request("PURGE", "/") }, true},
		{"GET with content", nil, func() *message.Request {
			r := request("GET", "/")
			r.Body, r.ContentLength = strings.NewReader("x"), 1
			return r
		}, true},
		{"GET that means DELETE", nil, func() *message.Request { return request("GET", "/", "x-http-method-override", "DELETE") }, true},
		{"a service that is careful", off, func() *message.Request { return request("GET", "/") }, true},
	} {
		o, e := newTold(t, c.change)
		s := newShaking()
		got, done := e.serveAsync(context.Background(), inEarlyData(c.request(), s))
		if c.waits {
			<-s.waits
			if n := o.count(); n != 0 {
				t.Errorf("%s: the origin has got it already", c.why)
			}
			s.finish()
		}
		<-done
		want := "1"
		if c.waits {
			want = ""
		}
		if got.status/100 != 2 || o.requests() != want || len(s.waits) > 0 {
			t.Errorf("%s: %d, the origin was told %q, want %q", c.why, got.status, o.requests(), want)
		}
		served, delayed := "1", "0"
		if c.waits {
			served, delayed = "0", "1"
		}
		if e.counted(`nearcast_early_requests_total{service="shop",outcome="served"}`) != served || e.counted(`nearcast_early_requests_total{service="shop",outcome="delayed"}`) != delayed {
			t.Errorf("%s: counted otherwise", c.why)
		}
	}
}

func TestACarefulServiceAnswersNothingEarly(t *testing.T) {
	o, e := newTold(t, func(_ *Options, s *ServiceConfig) { s.EarlyData = EarlyDataOff })
	e.get("/")
	e.settle()
	s := newShaking()
	if a := e.Quick(inEarlyData(request("GET", "/"), s)); a != nil {
		t.Fatal("a hit is ready at once")
	}
	got, done := e.serveAsync(context.Background(), inEarlyData(request("GET", "/"), s))
	<-s.waits
	s.finish()
	<-done
	if got.status != 200 || o.count() != 1 {
		t.Errorf("%d, %d requests", got.status, o.count())
	}
	if a := e.Quick(request("GET", "/")); a == nil {
		t.Error("later there is no hit")
	} else {
		a.Done(0, true)
	}
	if c := e.get("/", "early-data", "1"); c.status != 425 {
		t.Errorf("from a hop that took it: %d", c.status)
	}
}

func TestWhereWaitingIsNoUse(t *testing.T) {
	o, e := newTold(t, nil)
	s := newShaking()
	if c := e.serve(inEarlyData(request("POST", "/", "early-data", "1"), s)); c.status != 425 || len(s.waits) > 0 {
		t.Errorf("taken by a hop before: %d", c.status)
	}
	s.failure = errors.New("too many wait")
	if c := e.serve(inEarlyData(request("POST", "/"), s)); c.status != 425 {
		t.Errorf("too many wait: %d", c.status)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s = newShaking()
	c, done := e.serveAsync(ctx, inEarlyData(request("POST", "/"), s))
	<-s.waits
	cancel()
	<-done
	if c.status != 0 {
		t.Errorf("a client that left: %d", c.status)
	}
	if o.count() != 0 {
		t.Errorf("the origin got %d requests", o.count())
	}
	if n := e.counted(`nearcast_early_requests_total{service="shop",outcome="refused"}`); n != "2" {
		t.Errorf("%s are counted as refused", n)
	}
}

// A request whose handshake is complete when it is sent on is no early one (RFC 8470 §5.1).
func TestWhatIsSettledIsNotEarly(t *testing.T) {
	o, e := newTold(t, nil)
	s := newShaking()
	s.finish()
	if c := e.serve(inEarlyData(request("GET", "/"), s)); c.status != 200 || o.requests() != "" {
		t.Errorf("%d, told %q", c.status, o.requests())
	}
}

// What takes several requests to the origin is worth the wait.
func TestSlicesAreNotFetchedEarly(t *testing.T) {
	o, e := newTold(t, func(_ *Options, s *ServiceConfig) { s.Cache.Slice = 1 << 20 })
	s := newShaking()
	_, done := e.serveAsync(context.Background(), inEarlyData(request("GET", "/", "range", "bytes=0-1"), s))
	<-s.waits
	if o.count() != 0 {
		t.Error("the origin has got it already")
	}
	s.finish()
	<-done
	if strings.Trim(o.requests(), ",") != "" {
		t.Errorf("the origin was told %q", o.requests())
	}
}

// An answer that depends on Early-Data is for nobody else: others' requests are told apart by what they came with.
func TestVaryByEarlyDataIsNotShared(t *testing.T) {
	var n atomic.Int64
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Early-Data")
	})}}, nil)
	e.serve(inEarlyData(request("GET", "/"), newShaking()))
	e.settle()
	e.get("/")
	if n.Load() != 2 {
		t.Errorf("%d requests", n.Load())
	}
}

func TestTheLogTellsOfEarlyData(t *testing.T) {
	var log strings.Builder
	_, e := newTold(t, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	e.serve(inEarlyData(request("GET", "/a"), newShaking()))
	e.settle()
	if a := e.Quick(inEarlyData(request("GET", "/a"), newShaking())); a == nil {
		t.Fatal("no hit")
	} else {
		a.Done(0, true)
	}
	e.get("/a")
	lines := strings.Split(log.String(), "\n")
	for i, want := range []bool{true, true, false} {
		if strings.Contains(lines[i], `,"early_data":"served"`) != want {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
}
