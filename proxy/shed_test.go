package proxy

import (
	"bytes"
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
	"nearcast/health"
)

// pressed tells the proxy of a critical load until it sheds all uncacheable work, and with fills all of those too.
func (e *edge) pressed(fills bool) {
	e.t.Helper()
	e.ObserveLoad(maxElapsed, LoadCritical, LoadCritical)
	if fills {
		e.ObserveLoad(maxElapsed, LoadCritical, LoadCritical)
	}
	want := 0.0
	if fills {
		want = 1
	}
	if u, f := e.Shedding(); u != 1 || f != want {
		e.t.Fatalf("shares of %v and %v", u, f)
	}
}

func TestThePressureFollowsTheLoad(t *testing.T) {
	type look struct {
		seconds      float64
		held, latest Load
		want         float64
	}
	for _, tt := range []struct {
		why   string
		looks []look
	}{
		{"nothing without a load", []look{{1, LoadOK, LoadOK, 0}, {1, LoadOK, LoadHigh, 0}, {1, LoadOK, LoadCritical, 0}}},
		{"it begins small and rises while the load lasts", []look{{1, LoadHigh, LoadHigh, 0.05}, {1, LoadHigh, LoadHigh, 0.1}, {2, LoadHigh, LoadHigh, 0.2}}},
		{"what is enough is eased", []look{{2, LoadHigh, LoadHigh, 0.1}, {1, LoadHigh, LoadOK, 0.09}, {1, LoadHigh, LoadOK, 0.08}, {1, LoadHigh, LoadHigh, 0.13}}},
		{"a high load leaves a tenth", []look{{5, LoadHigh, LoadHigh, 0.25}, {5, LoadHigh, LoadCritical, 0.9}, {5, LoadHigh, LoadHigh, 0.9}}},
		{"a critical one nothing, in the end", []look{{5, LoadCritical, LoadCritical, 1}, {5, LoadCritical, LoadCritical, 2}, {5, LoadCritical, LoadCritical, 2}}},
		{"and rises slowly when the worst is over", []look{{1, LoadCritical, LoadCritical, 0.2}, {1, LoadCritical, LoadHigh, 0.25}, {1, LoadCritical, LoadOK, 0.24}}},
		{"fills come back when it is critical no more", []look{{5, LoadCritical, LoadCritical, 1}, {2, LoadCritical, LoadCritical, 1.4}, {1, LoadHigh, LoadHigh, 1.2},
			{1.5, LoadHigh, LoadHigh, 0.95}, {5, LoadHigh, LoadHigh, 0.9}}},
		{"it falls slowly", []look{{4, LoadHigh, LoadHigh, 0.2}, {1, LoadOK, LoadOK, 0.1}, {5, LoadOK, LoadOK, 0}}},
		{"from all to nothing in a quarter of a minute", []look{{5, LoadCritical, LoadCritical, 1}, {5, LoadCritical, LoadCritical, 2}, {5, LoadOK, LoadOK, 1},
			{5, LoadOK, LoadOK, 0.5}, {5, LoadOK, LoadOK, 0}}},
		{"and stays where it is when the load begins to rise again", []look{{4, LoadHigh, LoadHigh, 0.2}, {1, LoadOK, LoadOK, 0.1}, {5, LoadOK, LoadHigh, 0.1}}},
		{"a long time counts for a short one", []look{{3600, LoadHigh, LoadHigh, 0.25}}},
	} {
		pressure := 0.0
		for i, l := range tt.looks {
			pressure = nextPressure(pressure, time.Duration(l.seconds*float64(time.Second)), l.held, l.latest)
			if pressure < l.want-1e-9 || pressure > l.want+1e-9 {
				t.Errorf("%s: look %d makes %v, want %v", tt.why, i, pressure, l.want)
			}
		}
	}
}

func TestAShareIsExactAndEvenlySpread(t *testing.T) {
	for _, share := range []uint32{0, 1, 50, 333, 900, 999, 1000} {
		n, last, gap := 0, 0, 0
		for turn := 1; turn <= 2*shareUnit; turn++ {
			if due(uint32(turn), share) {
				n++
				gap, last = max(gap, turn-last), turn
			}
		}
		if n != int(2*share) {
			t.Errorf("%d of %d, want %d", n, 2*shareUnit, 2*share)
		}
		if most := (shareUnit + int(share) - 1) / max(int(share), 1); share > 0 && gap > most {
			t.Errorf("a share of %d has gaps of %d, more than %d", share, gap, most)
		}
	}
}

// storefront is an edge whose origin has something of everything, and counts what it is asked.
func storefront(t *testing.T, log io.Writer) (*edge, *atomic.Int32) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := strings.Cut(r.URL.Path[1:], "/")
		w.Header().Set("Cache-Control", map[string]string{"fresh": "max-age=600", "stale": "max-age=0", "strict": "max-age=600, must-revalidate", "always": "no-cache",
			"refresh": "max-age=0, stale-while-revalidate=600", "private": "private"}[kind])
		w.Header().Set("Etag", `"a"`)
		if r.Header.Get("If-None-Match") == `"a"` {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, kind)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) {
		if log != nil {
			o.AccessLog = log
		}
	})
	for _, path := range []string{"/fresh", "/stale", "/strict", "/refresh", "/private", "/always"} {
		e.get(path)
	}
	e.settle()
	if _, err := e.Purge(cache.PurgeRequest{URLs: []string{"https://shop.example/strict"}, Soft: true}, "test"); err != nil {
		t.Fatal(err)
	}
	return e, hits
}

func TestUncacheableWorkIsShedFirstAndHitsNever(t *testing.T) {
	type want struct {
		status            int
		body, cacheStatus string
		asked             int32
	}
	refused := want{503, "503 Service Unavailable\n", `nearcast; detail="overload"`, 0}
	for _, tt := range []struct {
		what         string
		method, path string
		first, last  want // while uncacheable work is shed, and while all is
	}{
		{"a hit", "GET", "/fresh", want{200, "fresh", "nearcast; hit; ttl=", 0}, want{200, "fresh", "nearcast; hit; ttl=", 0}},
		{"an unsafe method", "POST", "/fresh/x", refused, refused},
		{"what is known not to be storable", "GET", "/private", refused, refused},
		{"what may serve stale", "GET", "/stale", want{200, "stale", `nearcast; hit; ttl=-`, 0}, want{200, "stale", `nearcast; hit; ttl=-`, 0}},
		{"what is validated for each", "GET", "/always", refused, refused},
		{"what may not", "GET", "/strict", want{200, "strict", "nearcast; fwd=stale; fwd-status=304; stored", 1}, refused},
		{"a miss", "GET", "/fresh/new", want{200, "fresh", "nearcast; fwd=uri-miss; fwd-status=200; stored", 1}, refused},
		{"what is revalidated behind its client's back", "GET", "/refresh", want{200, "refresh", "nearcast; hit; ttl=-", 0}, want{200, "refresh", "nearcast; hit; ttl=-", 0}},
		{"only-if-cached", "GET", "/fresh/absent?only", want{504, "504 Gateway Timeout\n", `nearcast; detail="only-if-cached"`, 0},
			want{504, "504 Gateway Timeout\n", `nearcast; detail="only-if-cached"`, 0}},
	} {
		for _, all := range []bool{false, true} {
			e, hits := storefront(t, nil)
			e.pressed(all)
			before, expected := hits.Load(), tt.first
			if all {
				expected = tt.last
			}
			var fields []string
			if strings.HasSuffix(tt.path, "?only") {
				fields = []string{"cache-control", "only-if-cached"}
			}
			c := e.serve(request(tt.method, tt.path, fields...))
			e.settle()
			e.want(fmt.Sprintf("%s, fills shed: %v", tt.what, all), c, expected.status, expected.body, expected.cacheStatus)
			if got := hits.Load() - before; got != expected.asked {
				t.Errorf("%s, fills shed %v: the origin was asked %d times, want %d", tt.what, all, got, expected.asked)
			}
			if expected.status != 503 {
				continue
			}
			if c.fields.Get("retry-after") == "" || c.fields.Get("cache-control") != "no-store" ||
				c.fields.Get("proxy-status") != `fra-1; error=proxy_internal_response; details="overload"` {
				t.Errorf("%s: %v", tt.what, c.fields)
			}
		}
	}
}

func TestWhatIsShedIsCountedAndLogged(t *testing.T) {
	var log bytes.Buffer
	e, _ := storefront(t, &log)
	e.pressed(true)
	log.Reset()
	e.serve(request("POST", "/x"))
	e.get("/stale")
	e.get("/refresh")
	e.get("/fresh/new")
	text := e.metrics()
	for _, want := range []string{`nearcast_shed_requests_total{service="shop",reason="uncacheable"} 1`, `nearcast_shed_requests_total{service="shop",reason="stale"} 1`,
		`nearcast_shed_requests_total{service="shop",reason="refresh"} 1`, `nearcast_shed_requests_total{service="shop",reason="miss"} 1`,
		`nearcast_shed_requests_total{service="shop",reason="unreachable"} 0`, `nearcast_shed_share{work="uncacheable"} 1`, `nearcast_shed_share{work="miss"} 1`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, want := range []string{`"status":503`, `"status":200`, `"status":200`, `"status":503`} {
		if !strings.Contains(lines[i], want) || want == `"status":503` && !strings.Contains(lines[i], `"blame":"edge","reason":"overload"`) {
			t.Errorf("logged %s, want %s", lines[i], want)
		}
	}
	if !strings.Contains(lines[1], `"cache":"stale","cache_reason":"overload"`) {
		t.Errorf("logged %s", lines[1])
	}
}

func TestExactlyTheShareIsRefused(t *testing.T) {
	e, hits := storefront(t, nil)
	e.ObserveLoad(5*time.Second, LoadHigh, LoadHigh) // a quarter
	before, refused := hits.Load(), 0
	for range 200 {
		if e.serve(request("POST", "/x")).status == 503 {
			refused++
		}
	}
	if asked := hits.Load() - before; refused != 50 || asked != 150 {
		t.Errorf("%d refused, %d forwarded of 200", refused, asked)
	}
	for range 6 {
		e.ObserveLoad(5*time.Second, LoadOK, LoadOK)
	}
	if u, f := e.Shedding(); u != 0 || f != 0 || e.shedding.word.Load() != 0 {
		t.Errorf("shares of %v and %v after the load", u, f)
	}
	if c := e.serve(request("POST", "/x")); c.status != 200 {
		t.Errorf("%d after the load", c.status)
	}
}

func TestTheEdgesOwnProbesAndPurgesAreNeverShed(t *testing.T) {
	e, _, _ := purgeEdge(t, "203.0.113.0/24")
	e.pressed(true)
	e.SetFailFast(true)
	if c := e.get(health.SelfPath, health.SelfField, "secret"); c.status != 200 {
		t.Errorf("the edge's own probe: %d", c.status)
	}
	if c := e.serve(request("PURGE", "/a")); c.status != 200 {
		t.Errorf("a purge: %d", c.status)
	}
	if c := e.serve(request("OPTIONS", "*", "max-forwards", "0")); c.status != 204 {
		t.Errorf("an OPTIONS that is for this edge: %d", c.status)
	}
}

func TestAHitUnderLoadTakesNoMemory(t *testing.T) {
	e := newShelf(t, nil)
	e.pressed(true)
	e.SetFailFast(true)
	r := request("GET", "/a")
	if n := testing.AllocsPerRun(100, func() {
		a := e.Quick(r)
		a.Body.Next()
		a.Done(a.BodyLength, true)
	}); n != 0 && !raced {
		t.Errorf("%v allocations", n)
	}
}

func TestTheLoadMayChangeUnderRequests(t *testing.T) {
	e, _ := storefront(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			e.ObserveLoad(time.Second, Load(i%3), Load(i/3%3))
			e.SetFailFast(i%2 == 0)
			e.Shedding()
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for i := range 100 {
				for _, path := range []string{"/fresh", "/stale", "/refresh", fmt.Sprintf("/fresh/%d", i)} {
					if c := e.get(path); c.status != 200 && c.status != 503 {
						t.Errorf("%s: %d", path, c.status)
					}
				}
			}
		})
	}
	clients.Wait()
	cancel()
	wg.Wait()
	e.settle()
}
