package bench

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes dials an in-memory HTTP/1.1 server, so that a test may run on synctest's clock.
type pipes struct {
	answer  func(n int) // called before the nth response, from 0
	mu      sync.Mutex
	n       int
	serving sync.WaitGroup
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.serving.Go(func() {
		defer server.Close()
		br := bufio.NewReader(server)
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			p.mu.Lock()
			n := p.n
			p.n++
			p.mu.Unlock()
			p.answer(n)
			io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	return client, nil
}

func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{}) // the server stalls for a second, then answers everything at once
		p := &pipes{answer: func(n int) {
			if n == 0 {
				time.Sleep(time.Second)
				close(stalled)
			}
			<-stalled
		}}
		defer p.serving.Wait()
		r := run1(t, Options{URL: "http://server/", Rate: 10, Duration: 2 * time.Second, Timeout: 5 * time.Second, DialTCP: p.dial})
		if r.OK != 20 {
			t.Fatalf("want 20 successes: %v", r)
		}
		// A closed loop would have one slow request; the open loop has the ten that were kept waiting.
		for i, rec := range r.Records {
			want := max(0, time.Second-time.Duration(i)*100*time.Millisecond)
			if rec.Latency != want || !rec.Start.Equal(r.Start.Add(time.Duration(i)*100*time.Millisecond)) {
				t.Errorf("request %d: started %v after the first, latency %v, want %v", i, rec.Start.Sub(r.Start), rec.Latency, want)
			}
		}
		if p50 := r.Percentile(75); p50 < 490*time.Millisecond || p50 > 510*time.Millisecond {
			t.Errorf("p75 = %v, want 500 ms", p50)
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{answer: func(int) { time.Sleep(time.Hour) }}
		defer p.serving.Wait()
		var mu sync.Mutex
		observed := make(map[Class]int)
		r := run1(t, Options{URL: "http://server/", Rate: 10, Duration: 2 * time.Second, Timeout: time.Second, MaxInFlight: 3, DialTCP: p.dial,
			Observe: func(r Record) { mu.Lock(); observed[r.Class]++; mu.Unlock() }})
		if r.Failures[Timeout] != 6 || r.Failures[NotSent] != 14 {
			t.Errorf("three at a time, a second each, for two seconds: %v", r)
		}
		if observed[Timeout] != 6 || observed[NotSent] != 14 {
			t.Errorf("Observe must see every record: %v", observed)
		}
		if r.Gap != 1900*time.Millisecond {
			t.Errorf("an outage from the first request to the last must be the gap, not %v", r.Gap)
		}
	})
}

func TestStoppingIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{answer: func(int) { time.Sleep(800 * time.Millisecond) }}
		defer p.serving.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 1050*time.Millisecond)
		defer cancel()
		r, err := Run(ctx, Options{URL: "http://server/", Rate: 10, Duration: time.Hour, Timeout: time.Second, DialTCP: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK != 11 || r.Failed != 0 || r.Elapsed != 1800*time.Millisecond {
			t.Errorf("11 requests had started, and the last needs 0.8 s: %v, elapsed %v", r, r.Elapsed)
		}
	})
}

func TestKeptConnectionsAreUsedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{answer: func(int) {}}
		defer p.serving.Wait()
		o := Options{URL: "http://server/", Rate: 100, Duration: time.Second, KeepAlive: true, Connections: 4, DialTCP: p.dial}
		r := run1(t, o)
		if r.OK != 100 || r.Dialled != 4 {
			t.Errorf("100 requests over 4 connections: %v, %d dialled", r, r.Dialled)
		}
	})
}
