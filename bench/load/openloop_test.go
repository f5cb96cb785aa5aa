package load

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of in-memory connections, so that a test may run on synctest's clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// onFakeClock runs f against a handler over in-memory connections, on a clock that stands still while anything is computed.
func onFakeClock(t *testing.T, h http.HandlerFunc, f func(t *testing.T, o Options)) {
	for _, o := range []Options{{Protocol: HTTP1, Connections: 4}, {Protocol: HTTP2, Connections: 2, Streams: 2}} {
		t.Run(o.Protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, both := newPipes(), new(http.Protocols)
				both.SetHTTP1(true)
				both.SetUnencryptedHTTP2(true)
				s := &http.Server{Handler: h, Protocols: both, ErrorLog: log.New(io.Discard, "", 0)}
				var serving sync.WaitGroup
				serving.Go(func() { s.Serve(p) })
				defer serving.Wait()
				defer s.Close()
				o.URL, o.dial, o.pause, o.Timeout = "http://server/", p.dial, sleep, 5*time.Second
				f(t, o)
			})
		})
	}
}

func TestOpenLoopCountsFromTheIntendedStart(t *testing.T) {
	var stalled time.Time
	stall := func(w http.ResponseWriter, r *http.Request) { // everything in the first second
		time.Sleep(max(0, time.Until(stalled)))
	}
	onFakeClock(t, stall, func(t *testing.T, o Options) {
		o.Rate, o.Duration = 10, 2*time.Second
		o.Begin = func() { stalled = time.Now().Add(time.Second) }
		r := mustRun(t, o)
		if r.OK != 20 || r.Failed != 0 || r.Seconds != 1.9 {
			t.Fatalf("%+v", r)
		}
		// Of twenty requests a tenth of a second apart, the first took a second, the next 0.9 s, and so on: more than the four that were in
		// flight. A loop that waits for answers would have four slow ones.
		slow := 0
		for _, bar := range r.Histogram.Distribution() {
			if bar.From >= 90_000 {
				slow += int(bar.Count)
			}
		}
		if slow != 10 || r.Latency.Max < 999_000 || r.Latency.Max > 1_001_000 {
			t.Errorf("%d slow requests, want 10; max %d µs", slow, r.Latency.Max)
		}
		if mean := r.Latency.Mean; mean < 274_000 || mean > 276_000 { // (1.0 + 0.9 + … + 0.1) / 20
			t.Errorf("mean %v µs, want 275000", mean)
		}
	})
}

func TestOpenLoopStartsOnTime(t *testing.T) {
	var mu sync.Mutex
	var began time.Time
	var at []time.Time
	note := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
	}
	onFakeClock(t, note, func(t *testing.T, o Options) {
		at = nil
		o.Rate, o.Requests, o.Warmup = 4, 8, time.Second
		o.Begin = func() { began = time.Now() }
		r := mustRun(t, o)
		if r.OK != 8 || len(at) != 12 || r.Latency.Max != 1 {
			t.Fatalf("%+v, %v", r, at)
		}
		for i, when := range at[4:] {
			if d, want := when.Sub(began), time.Duration(i)*time.Second/4; d != want {
				t.Errorf("request %d at %v, want %v", i, d, want)
			}
		}
	})
}

func TestOpenLoopSaysWhatItCouldNotSend(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	onFakeClock(t, hang, func(t *testing.T, o Options) {
		o.Rate, o.Duration, o.Timeout = 100, time.Second, time.Minute
		r := mustRun(t, o)
		// Four were sent and not answered; the others had no room until the end and the timeout were over.
		if r.OK != 0 || r.Failed != 100 || r.Failures[NotSent] == nil || r.Failures[Timeout] == nil ||
			r.Failures[NotSent].Count+r.Failures[Timeout].Count != 100 || r.Failures[Timeout].Count < 4 {
			t.Errorf("%+v %+v", r, r.Failures)
		}
	})
}

func TestWhatAClosedLoopCounts(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) { time.Sleep(7 * time.Millisecond) }
	onFakeClock(t, slow, func(t *testing.T, o Options) {
		// Four requests at a time end every 7 ms: 14 times during the warm-up, 157 times until the end, and once after it.
		o.Warmup, o.Duration = 100*time.Millisecond, time.Second
		if r := mustRun(t, o); r.OK != 4*(157-14) || r.Failed != 0 || r.Late != 4 || r.LateMaxMs != 7 || r.Seconds != 1 || r.Latency.Max-r.Latency.Min > 7 {
			t.Errorf("%+v", r)
		}
		o.Requests, o.Duration = 10, 0
		if r := mustRun(t, o); r.OK != 10 || r.Late != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestClosedLoopDoesNotForgetWhatIsNeverAnswered(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	onFakeClock(t, hang, func(t *testing.T, o Options) {
		o.Duration = time.Second // which is less than the timeout
		if r := mustRun(t, o); r.OK != 0 || r.Failed != 4 || r.Failures[Timeout] == nil {
			t.Errorf("%+v", r)
		}
		o.Requests, o.Duration = 10, 0 // after a timeout the next request is made
		if r := mustRun(t, o); r.OK != 0 || r.Failed != 10 || r.Failures[Timeout] == nil || r.Failures[Timeout].Count != 10 {
			t.Errorf("%+v", r)
		}
	})
}

func TestOpenLoopOutlivesAServer(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		if o.Protocol == HTTP3 {
			o.Timeout = 300 * time.Millisecond // nothing says over QUIC that a port is closed
		}
		first := true
		o.Rate, o.Requests = 200, 100
		o.Begin = func() {
			if first {
				s.close()
			}
			first = false
		}
		r := mustRun(t, o)
		if r.OK+r.Failed != 100 || r.Failed < 90 {
			t.Errorf("%+v", r)
		}
	})
}

func TestTimer(t *testing.T) {
	timer := newTimer()
	for _, d := range []time.Duration{0, 50 * time.Microsecond, 3 * time.Millisecond, 120 * time.Millisecond} {
		begun := time.Now()
		timer.wait(t.Context(), d)
		if took := time.Since(begun); took < d {
			t.Errorf("waited %v instead of %v", took, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	timer.wait(ctx, time.Hour) // returns
}
