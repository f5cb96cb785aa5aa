package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/proxy/message"
)

// region stands for the route: what clients dial now.
type region struct{ addr atomic.Pointer[string] }

func (r *region) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, *r.addr.Load())
}

// roaming returns a client that dials wherever the route leads.
func roaming(proto string, r *region) (rt http.RoundTripper, url string, closeIdle func()) {
	switch proto {
	case "h1":
		tr := &http.Transport{DialContext: r.dial}
		return tr, "http://example.test/", tr.CloseIdleConnections
	case "h2":
		tr := &http.Transport{DialContext: r.dial, TLSClientConfig: insecure.Clone(), Protocols: protocols((*http.Protocols).SetHTTP2)}
		return tr, "https://example.test/", tr.CloseIdleConnections
	}
	tr := &http3.Transport{TLSClientConfig: insecure.Clone(),
		Dial: func(ctx context.Context, _ string, cfg *tls.Config, qcfg *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, *r.addr.Load(), cfg, qcfg)
		}}
	return tr, "https://example.test/", func() { tr.Close() }
}

// TestPlannedStopFailsNoRequest is the order of a stop: the route moves to another edge, this one drains and closes, all the while
// clients send. Requests have bodies that cannot be sent twice, so that no client library hides a failure by a retry of its own.
func TestPlannedStopFailsNoRequest(t *testing.T) {
	for _, proto := range []string{"h1", "h2", "h3"} {
		t.Run(proto, func(t *testing.T) {
			var served [2]atomic.Int64
			handler := func(i int) message.Handler {
				return handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
					if r.Body != nil {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					served[i].Add(1)
					_ = w.WriteHeader(200, nil, 4<<10)
					_, _ = w.Write(make([]byte, 4<<10))
				})
			}
			leaving, staying := startEdge(t, handler(0), testLimits()), startEdge(t, handler(1), testLimits())
			addr := func(e *edge) *string {
				i := tlsListener
				if proto == "h1" {
					i = plainListener
				}
				s := e.addr(i)
				return &s
			}
			var route region
			route.addr.Store(addr(leaving))

			stop := make(chan struct{})
			var load sync.WaitGroup
			for range 4 {
				load.Go(func() { runLoad(t, proto, &route, stop) })
			}
			eventually(t, "the load runs", func() bool { return served[0].Load() > 100 })

			route.addr.Store(addr(staying)) // the routes are withdrawn
			leaving.Drain()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if cut := leaving.Close(ctx); cut != 0 {
				t.Errorf("%d requests were cut", cut)
			}
			if ctx.Err() != nil {
				t.Error("the close waited until its end of patience")
			}
			at := served[1].Load()
			eventually(t, "the load runs on at the other edge", func() bool { return served[1].Load() > at+100 })
			close(stop)
			load.Wait()
		})
	}
}

// runLoad sends requests until stop, every fourth with a body of a known pattern, and fails the test at the first one that fails.
func runLoad(t *testing.T, proto string, route *region, stop chan struct{}) {
	rt, url, closeIdle := roaming(proto, route)
	defer closeIdle()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		var body io.Reader
		method := "GET"
		if n%4 == 0 && proto == "h1" {
			method, body = "POST", io.MultiReader(strings.NewReader("not to be sent twice"))
		}
		r, err := http.NewRequestWithContext(ctx, method, url, body)
		if err != nil {
			t.Error(err)
		}
		resp, err := rt.RoundTrip(r)
		if err == nil {
			var got []byte
			got, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && (resp.StatusCode != 200 || len(got) != 4<<10) {
				err = fmt.Errorf("status %d, %d bytes", resp.StatusCode, len(got))
			}
		}
		cancel()
		if closedByClient(err) {
			continue
		}
		if err != nil {
			t.Errorf("request %d failed: %v", n, err)
			return
		}
	}
}

// closedByClient says whether the client of quic-go has closed its connection under a request of its own: told to leave, it does so when it has no stream
// in its list, where one that is just being opened is not yet, and one that has been received but not been read is no more.
func closedByClient(err error) bool {
	var h3 *http3.Error
	return errors.As(err, &h3) && h3.ErrorCode == http3.ErrCodeNoError && !h3.Remote
}

// gate is a handler that holds each request until it is opened.
type gate struct {
	began chan struct{}
	open  chan struct{}
}

func newGate() *gate { return &gate{began: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) Serve(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
	g.began <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
		w.Abort()
		return
	}
	_ = w.WriteHeader(200, nil, 1<<20)
	_, _ = w.Write(make([]byte, 1<<20))
}

// TestCloseWaitsForRequestsInFlight, and for their last byte.
func TestCloseWaitsForRequestsInFlight(t *testing.T) {
	g := newGate()
	e := startEdge(t, g, testLimits())
	cs := e.clients()
	results := make(chan error, len(cs))
	for _, c := range cs {
		defer c.close()
		r := c.request(t, "GET", "/", nil)
		go func() {
			resp, err := c.rt.RoundTrip(r)
			if err == nil {
				var n int64
				n, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err == nil && n != 1<<20 {
					err = fmt.Errorf("%d bytes", n)
				}
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.name, err)
			}
			results <- err
		}()
	}
	for range cs {
		<-g.began
	}
	closed := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		closed <- e.Close(ctx)
	}()
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", e.addr(plainListener))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case cut := <-closed:
		t.Errorf("closed with %d requests cut while they were in flight", cut)
	default:
	}
	close(g.open)
	for range cs {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if cut := <-closed; cut != 0 {
		t.Errorf("%d requests were cut", cut)
	}
	if err := e.Healthy(); err != nil {
		t.Errorf("a closed listener is not a dead one: %v", err)
	}
}

// TestCloseCutsWhatDoesNotEnd: the end of patience is the end.
func TestCloseCutsWhatDoesNotEnd(t *testing.T) {
	g := newGate()
	e := startEdge(t, g, testLimits())
	cs := e.clients()
	var clients sync.WaitGroup
	for _, c := range cs {
		defer c.close()
		r := c.request(t, "POST", "/", strings.NewReader("x"))
		clients.Go(func() {
			if resp, err := c.rt.RoundTrip(r); err == nil {
				resp.Body.Close()
				t.Errorf("%s: got a response", c.name)
			}
		})
	}
	for range cs {
		<-g.began
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if cut := e.Close(ctx); cut != len(cs) {
		t.Errorf("%d requests were cut, want %d", cut, len(cs))
	}
	clients.Wait()
}

// TestDrainingStillServes: while the routes settle clients keep coming, and each is served and told to leave.
func TestDrainingStillServes(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	e.Drain()
	for _, c := range e.clients() {
		for range 3 {
			resp, body := c.get(t, "/")
			if body != "ok" {
				t.Errorf("%s: %q while draining", c.name, body)
			}
			if c.proto == message.HTTP1 && !resp.Close {
				t.Errorf("%s: the response does not close its connection", c.name)
			}
		}
		c.close()
	}
	if got := e.metric("nearcast_front_connections_accepted_total"); !strings.Contains(got, `protocol="h1"} 6`) {
		t.Errorf("each HTTP/1.1 request should have had a connection of its own:\n%s", got)
	}
}

func TestIdleConnectionIsServedOnceMoreDuringDrain(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	c := dialPlain(t, e)
	br := bufio.NewReader(c)
	for i, wantClose := range []bool{false, true} {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.Close != wantClose {
			t.Errorf("response %d closes: %t", i, resp.Close)
		}
		e.Drain()
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("after the last response: %v, want the connection closed", err)
	}
}

// TestCloseIsQuickWithIdleConnections: idle clients, and those that never said a word, must not hold up a restart.
func TestCloseIsQuickWithIdleConnections(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	for _, c := range e.clients() {
		defer c.close()
		c.get(t, "/")
	}
	dialPlain(t, e)
	if c, err := net.Dial("tcp", e.addr(tlsListener)); err == nil {
		defer c.Close()
	}
	eventually(t, "all connections are there", func() bool { return e.open.Load() == 7 })
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if cut := e.Close(ctx); cut != 0 {
		t.Errorf("%d requests were cut", cut)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %v", took)
	}
	if open := e.open.Load(); open != 0 {
		t.Errorf("%d connections are counted as open after the close", open)
	}
}

func TestCloseWithoutRun(t *testing.T) {
	before := goroutines()
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(time.Hour*24*90), "example.test")
	f, err := Open([]ListenConfig{{Address: "127.0.0.1:0", TLS: true}}, TLSConfig{Certificates: []CertificateConfig{pair}}, testLimits(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cut := f.Close(context.Background()); cut != 0 {
		t.Errorf("%d requests were cut", cut)
	}
	if err := f.Run(context.Background(), text(200, "ok")); err == nil {
		t.Error("ran after it was closed")
	}
	noLeak(t, before)
}

func TestCloseTwiceAndAfterTheEnd(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	c := e.h1()
	c.get(t, "/") // it runs
	c.close()
	if err := e.Run(context.Background(), text(200, "ok")); err == nil {
		t.Error("ran twice")
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { e.Close(context.Background()) })
	}
	both.Wait()
	e.Drain()
	e.Close(context.Background())
}

// TestACutIsToldFromAClientThatLeaves, in every version of HTTP.
func TestACutIsToldFromAClientThatLeaves(t *testing.T) {
	for _, cut := range []bool{true, false} {
		began, ended := make(chan struct{}), make(chan error, 10)
		h := handlerFunc(func(ctx context.Context, _ message.ResponseWriter, _ *message.Request) {
			began <- struct{}{}
			<-ctx.Done()
			ended <- message.Cut(ctx)
		})
		e := startEdge(t, h, testLimits())
		ctx, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		cs := e.clients()
		for _, c := range cs {
			defer c.close()
			r := c.request(t, "GET", "/", nil).WithContext(ctx)
			clients.Go(func() { _, _ = c.rt.RoundTrip(r) })
			<-began
		}
		if cut {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			e.Close(over)
		} else {
			leave()
		}
		for range cs {
			if err := <-ended; cut != (err == errPatience) || cut != (err != nil) {
				t.Errorf("cut by us: %t; got %v", cut, err)
			}
		}
		leave()
		clients.Wait()
	}
}

// TestAConnectionFromTheLastMomentIsServed: draining may have begun long ago, and clients have come since.
func TestAConnectionFromTheLastMomentIsServed(t *testing.T) {
	for try := 0; ; try++ {
		e := startEdge(t, text(200, "ok"), testLimits())
		e.Drain()
		time.Sleep(linger + linger/10)
		c := dialPlain(t, e)
		eventually(t, "it is accepted", func() bool { return e.early.Load() == 1 })
		begin := time.Now()
		closed := make(chan int)
		go func() { closed <- e.Close(context.Background()) }()
		eventually(t, "nothing is accepted any more", func() bool {
			c, err := net.Dial("tcp", e.addr(plainListener))
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		late := time.Since(begin) > linger/2 // on a busy machine; it could be right to have closed it
		if err == nil {
			resp.Body.Close()
		} else if !late || try == 10 {
			t.Error(err)
		}
		c.Close()
		<-closed
		if err == nil || !late {
			return
		}
	}
}
