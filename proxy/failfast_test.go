package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nearcast/health"
)

// probedAs runs the edge's monitor with probes that give what up says, and returns when every status has become that. It may be called once.
func (e *edge) probedAs(up *atomic.Bool) (settle func()) {
	targets := e.Targets()
	for i := range targets {
		targets[i].Config = health.Config{Interval: time.Millisecond, Timeout: time.Millisecond, Rise: 1, Fall: 1}
		targets[i].Probe = func(context.Context) (time.Duration, error) {
			if up.Load() {
				return time.Millisecond, nil
			}
			return 0, errors.New("down")
		}
	}
	m := e.opts.Health
	m.SetTargets(targets)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	e.t.Cleanup(func() { cancel(); <-done })
	changed := m.Subscribe()
	return func() {
		for {
			want, settled := health.Down, true
			if up.Load() {
				want = health.Up
			}
			for _, st := range m.Snapshot().All() {
				settled = settled && st.Status == want
			}
			if settled {
				return
			}
			<-changed
		}
	}
}

func TestWithoutFailingFastEveryOriginIsTriedThoughAllAreDown(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t), deadOrigin(t)}, "nyc": {deadOrigin(t)}}, nil)
	e.probedAs(new(atomic.Bool))()
	c := e.get("/")
	if c.status != 502 || c.fields.Has("retry-after") {
		t.Errorf("%d %v", c.status, c.fields)
	}
	tried := 0
	for _, o := range e.table.services[0].origins {
		tried += int(o.meters.requests.Get())
	}
	if tried != 3 {
		t.Errorf("%d origins tried, want max_attempts", tried)
	}
}

func TestFailingFastAsksNoOriginWhileAllAreDown(t *testing.T) {
	var alive, up atomic.Bool
	alive.Store(true)
	up.Store(true)
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if !alive.Load() {
			hangUp(w, r)
			return
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/strict"):
			w.Header().Set("Cache-Control", "max-age=0, must-revalidate")
		case strings.HasPrefix(r.URL.Path, "/stale"):
			w.Header().Set("Cache-Control", "max-age=0")
		default:
			w.Header().Set("Cache-Control", "max-age=600")
		}
		w.Header().Set("Etag", `"a"`)
		io.WriteString(w, "it")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	settle := e.probedAs(&up)
	settle()
	for _, path := range []string{"/fresh", "/stale", "/strict"} {
		e.get(path)
	}
	e.settle()
	e.SetFailFast(true)
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("with an origin that is up: %d", c.status)
	}
	alive.Store(false)
	up.Store(false)
	settle()
	s := e.table.services[0]
	s.trials.next.Store(time.Now().Add(time.Hour).UnixNano()) // the next trial is none of this test's
	before := hits.Load()
	for _, want := range []struct {
		method, path string
		status       int
		body         string
		cacheStatus  string
	}{
		{"GET", "/fresh", 200, "it", "nearcast; hit; ttl="},
		{"GET", "/stale", 200, "it", "nearcast; hit; ttl=-"},
		{"GET", "/strict", 503, "503 Service Unavailable\n", `nearcast; detail="disconnected"`},
		{"GET", "/new", 503, "503 Service Unavailable\n", `nearcast; detail="disconnected"`},
		{"POST", "/fresh", 503, "503 Service Unavailable\n", `nearcast; detail="disconnected"`},
	} {
		c := e.serve(request(want.method, want.path))
		e.want(want.method+" "+want.path, c, want.status, want.body, want.cacheStatus)
		if want.status == 503 && (c.fields.Get("retry-after") == "" || c.fields.Get("proxy-status") != `fra-1; error=destination_unavailable; details="no origin is up"`) {
			t.Errorf("%s: %v", want.path, c.fields)
		}
	}
	if n := hits.Load() - before; n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if got := s.meters.shed[shedUnreachable].Get(); got != 4 {
		t.Errorf("%d counted, want 4", got)
	}
	alive.Store(true)
	up.Store(true)
	settle()
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("after an origin has come back: %d", c.status)
	}
	up.Store(false)
	settle()
	e.SetFailFast(false)
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("an origin that is down by its checks alone, without failing fast: %d", c.status)
	}
}

func TestAnOriginThatIsNotProbedYetIsAsked(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "it") })
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.SetFailFast(true)
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("%d", c.status)
	}
}

func TestOneRequestASecondTriesAnOriginAllTheSame(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	e.probedAs(new(atomic.Bool))()
	e.SetFailFast(true)
	s, t0 := e.table.services[0], time.Unix(1e9, 0)
	at := func(d time.Duration, method string) bool { return e.worthTrying(s, method, t0.Add(d)) }
	for _, step := range []struct {
		why    string
		after  time.Duration
		method string
		want   bool
	}{
		{"nothing that may not be repeated", 0, "POST", false},
		{"the first", 0, "GET", true},
		{"another in the same second", 900 * ms, "GET", false},
		{"the next second's", trialEvery, "HEAD", true},
	} {
		if got := at(step.after, step.method); got != step.want {
			t.Errorf("%s: %v", step.why, got)
		}
	}
	e.reached(s, 503, t0)
	if at(trialEvery, "POST") {
		t.Error("an error counts as an answer")
	}
	e.reached(s, 404, t0)
	if !at(trialHolds-ms, "POST") || at(trialHolds, "POST") {
		t.Error("an answer does not count for its time")
	}
}

func TestWrongChecksDoNotTakeAServiceDown(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "it") })
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.probedAs(new(atomic.Bool))()
	e.SetFailFast(true)
	if c := e.serve(request("POST", "/x")); c.status != 503 || hits.Load() != 0 {
		t.Errorf("before a trial: %d", c.status)
	}
	if c := e.get("/x"); c.status != 200 {
		t.Errorf("the trial: %d", c.status)
	}
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("after it: %d", c.status)
	}
}

// TestAFailedTrialSaysTheSameAsAllOthers: its client is to come back, not to take the edge for broken.
func TestAFailedTrialSaysTheSameAsAllOthers(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	e.probedAs(new(atomic.Bool))()
	e.SetFailFast(true)
	for i := range 3 { // the first is the trial
		if c := e.get("/"); c.status != 503 || !c.fields.Has("retry-after") || !strings.Contains(c.fields.Get("proxy-status"), noneUp) {
			t.Errorf("request %d: %d %v", i, c.status, c.fields)
		}
	}
	tried := 0
	for _, o := range e.table.services[0].origins {
		tried += int(o.meters.requests.Get())
	}
	if tried != 1 {
		t.Errorf("%d tries, want 1", tried)
	}
	e.SetFailFast(false)
	if c := e.get("/"); c.status != 502 {
		t.Errorf("afterwards: %d", c.status)
	}
}
