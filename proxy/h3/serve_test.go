package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/proxy/message"
)

// client is another implementation's.
func (r *running) client(t *testing.T) *http3.Transport {
	t.Helper()
	tr := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestBothWays sends a body and trailers there and back, with early hints, through another implementation.
func TestBothWays(t *testing.T) {
	r := start(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		_ = w.WriteInformational(103, message.Fields{{Name: "link", Value: "</a>"}})
		_ = w.WriteHeader(200, nil, -1)
		buf := make([]byte, 10000)
		for {
			n, err := r.Body.Read(buf)
			if _, werr := w.Write(buf[:n]); werr != nil || err != nil {
				break
			}
		}
		_ = w.WriteTrailers(r.Trailers())
	}), Config{Pace: message.Pace{Grace: patience, Rate: 1000}})
	hints := ""
	ctx := httptrace.WithClientTrace(patient(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = http.StatusText(code) + h.Get("Link")
		return nil
	}})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+r.addr()+"/", io.NopCloser(bytes.NewReader(sent)))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Sum": {"17"}}
	resp, err := r.client(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, sent) || resp.Trailer.Get("X-Sum") != "17" || hints != "Early Hints</a>" {
		t.Errorf("%d octets, %v, trailers %v, hints %q", len(got), err, resp.Trailer, hints)
	}
}

// blocked is a QuickHandler: "/" is a hit, everything else waits for open.
type blocked struct {
	*hit
	open    chan struct{}
	waiting atomic.Int64
}

func (b *blocked) Quick(r *message.Request) *message.Ready {
	if r.Target.Path != "/" {
		return nil
	}
	return b.hit.Quick(r)
}

func (b *blocked) Serve(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	select {
	case <-b.open:
		_ = w.WriteHeader(200, nil, 0)
	case <-ctx.Done():
	}
}

// TestNothingHoldsUpAHit: not slow handlers, not requests that come in pieces, not a stream of which nothing has come, not an answer
// that the client does not take.
func TestNothingHoldsUpAHit(t *testing.T) {
	b := &blocked{hit: newHit(100 << 10), open: make(chan struct{})}
	r := start(t, b, Config{MaxStreams: 40})
	qc := r.dial(t)
	ctx := patient(t)
	slow := headers(":method: GET", ":scheme: https", ":authority: a.test", ":path: /slow")
	var waiting []*quic.Stream
	for i := range 36 {
		str, err := qc.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, str)
		switch i % 4 {
		case 0, 1:
			_, _ = str.Write(slow)
			_ = str.Close()
		case 2:
			_, _ = str.Write(slow[:7])
		case 3: // opened by the next
		}
	}
	eventually(t, "the handlers wait", func() bool { return b.waiting.Load() == 18 })
	for range 3 {
		if p, err := ask(t, qc, request("GET")); err != nil || len(p.body) != 100<<10 {
			t.Fatalf("a hit behind them: %d octets, %v", len(p.body), err)
		}
	}
	close(b.open)
	for i, str := range waiting {
		if i%4 > 1 {
			continue
		}
		_ = str.SetReadDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(str); err != nil || parseResponse(t, got).fields.Get(":status") != "200" {
			t.Errorf("a slow request: %v", err)
		}
	}
}

// TestWorkersEndWhenIdle: after a burst one waits, and no request is counted.
func TestWorkersEndWhenIdle(t *testing.T) {
	r := start(t, newHit(100<<10), Config{})
	qc := r.dial(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := ask(t, qc, request("GET")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "the workers have ended", func() bool {
		idle := true
		r.each(func(c *conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			idle = idle && len(c.parked) == 0 && len(c.active) == 0 && len(c.done) == 0
		})
		return idle
	})
	if p, err := ask(t, qc, request("GET")); err != nil || len(p.body) != 100<<10 {
		t.Errorf("afterwards: %d octets, %v", len(p.body), err)
	}
}

// TestClientThatGivesUp: STOP_SENDING ends the handler's context.
func TestClientThatGivesUp(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	r := start(t, handlerFunc(func(ctx context.Context, _ message.ResponseWriter, _ *message.Request) {
		close(began)
		<-ctx.Done()
		ended <- message.Cut(ctx)
	}), Config{})
	str, err := r.dial(t).OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET"))
	_ = str.Close()
	<-began
	str.CancelRead(codeRequestCancelled)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the server is said to have cut it: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the handler still waits")
	}
}

// TestServerThatStops: the handlers' contexts end, and say why.
func TestServerThatStops(t *testing.T) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan struct{}), make(chan error, 1)
	s, err := Listen([]*net.UDPConn{udp}, Config{TLS: testTLS(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, handlerFunc(func(ctx context.Context, _ message.ResponseWriter, _ *message.Request) {
			close(began)
			<-ctx.Done()
			ended <- message.Cut(ctx)
		}))
	}()
	str, err := (&running{Server: s}).dial(t).OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET"))
	_ = str.Close()
	<-began
	why := errors.New("time is up")
	cancel(why)
	if err := <-ended; err != why {
		t.Errorf("the handler was told %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestClientThatVanishes: everything it had is free again, and the handler knows.
func TestClientThatVanishes(t *testing.T) {
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	r := start(t, handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		began <- struct{}{}
		if r.Body != nil {
			_, err := io.ReadAll(r.Body)
			ended <- err
			return
		}
		<-ctx.Done()
		ended <- ctx.Err()
	}), Config{IdleTimeout: 300 * time.Millisecond})
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: udp}
	qc, err := tr.Dial(patient(t), r.udp().LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{request("GET"), join(request("POST"), frame(frameData, 'a')), request("GET")[:5]} {
		str, err := qc.OpenStreamSync(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(b)
		if len(b) == len(request("GET")) {
			_ = str.Close()
		}
	}
	<-began
	<-began
	udp.Close() // no packet leaves or comes any more
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a handler saw nothing")
			}
		case <-time.After(patience):
			t.Fatal("a handler still waits")
		}
	}
	eventually(t, "the connection is forgotten", func() bool {
		n := 0
		r.each(func(*conn) { n++ })
		return n == 0 && r.counts.closed.Load() == 1
	})
	tr.Close()
}

func TestSlowHeaderSection(t *testing.T) {
	var kinds sync.Map
	r := start(t, ok, Config{HeaderTimeout: 50 * time.Millisecond, CountError: func(k string) { kinds.Store(k, true) }})
	qc := r.dial(t)
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET")[:5])
	_ = str.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(str)
	if err != nil || parseResponse(t, got).fields.Get(":status") != "408" {
		t.Errorf("got % x, %v", got, err)
	}
	if _, ok := kinds.Load("header_timeout"); !ok {
		t.Error("not counted")
	}
	if p, err := ask(t, qc, request("GET")); err != nil || p.fields.Get(":status") != "200" {
		t.Errorf("afterwards: %v", err)
	}
}

// TestTooSlowForThePace: the pace holds for content; so does it for an answer that nobody takes.
func TestTooSlowForThePace(t *testing.T) {
	got := make(chan error, 1)
	r := start(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		var err error
		if r.Body != nil {
			_, err = io.ReadAll(r.Body)
		} else {
			_ = w.WriteHeader(200, nil, 1<<30)
			for err == nil {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}
		got <- err
	}), Config{Pace: message.Pace{Grace: 50 * time.Millisecond}})
	for _, method := range []string{"POST", "GET"} {
		str, err := r.dial(t).OpenStreamSync(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(request(method))
		if method == "GET" {
			_ = str.Close()
		}
		select {
		case err := <-got:
			var e *message.Error
			if !errors.As(err, &e) || e.Blame != message.BlameClient || method == "POST" && e.Status != 408 {
				t.Errorf("%s: %v", method, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the handler still waits", method)
		}
	}
}

// TestStreamCreditComesBack: many more requests than streams, one after another and at once.
func TestStreamCreditComesBack(t *testing.T) {
	for _, most := range []int{1, 7, 8, 40} {
		r := start(t, newHit(10), Config{MaxStreams: most})
		qc := r.dial(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if _, err := ask(t, qc, request("GET")); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestStreamCreditIsBounded(t *testing.T) {
	b := &blocked{hit: newHit(1), open: make(chan struct{})}
	r := start(t, b, Config{MaxStreams: 5})
	qc := r.dial(t)
	for range 5 {
		str, err := qc.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(headers(":method: GET", ":scheme: https", ":authority: a.test", ":path: /slow"))
		_ = str.Close()
		str.CancelRead(codeRequestCancelled) // the credit comes back when the handler has returned, and not before
	}
	eventually(t, "all were served", func() bool { return b.waiting.Load() == 0 })
	if _, err := qc.OpenStreamSync(patient(t)); err != nil {
		t.Error(err)
	}
}
