package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// breaking passes TCP connections on to a server. Those that exist when broken is called get a reset with their next bytes, as when
// a route has come to lead to another machine.
type breaking struct {
	mu    sync.Mutex
	conns []*cutConn
}

type cutConn struct {
	net.Conn
	cut atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cut.Load() {
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Conn.Close()
	}
	return c.Conn.Write(b)
}

func (b *breaking) dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &cutConn{Conn: nc}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, c)
	return c, nil
}

func (b *breaking) broken() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.cut.Store(true)
	}
}

// All connections break at once and none of them shows it before it is used. Each request that meets one is repeated on a new one:
// a second old one would fail it.
func TestManyBrokenConnectionsCostOneRepetitionEach(t *testing.T) {
	server, client := certificate(t, "fra-1")
	url := serve(t, server, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, protocol := range []Protocol{HTTP1, HTTP2} {
		const connections = 6
		b := new(breaking)
		o := load(url, protocol, client)
		o.KeepAlive, o.Connections, o.Retry, o.DialTCP = true, connections, RetryBroken, b.dial
		p, err := newPlan(o)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(p)
		ask := func() (retried bool) {
			ctx, cancel := context.WithTimeout(t.Context(), p.Timeout)
			defer cancel()
			_, retried, err := c.request(ctx)
			if err != nil {
				t.Errorf("%v: %v", protocol, err)
			}
			return retried
		}
		for range connections {
			if ask() {
				t.Errorf("%v: repeated although nothing was broken", protocol)
			}
		}
		b.broken()
		retried := 0
		for range 3 * connections {
			if ask() {
				retried++
			}
		}
		if retried != connections {
			t.Errorf("%v: %d requests were repeated, want one for each of %d connections", protocol, retried, connections)
		}
		c.close()
	}
}

// hole is a UDP socket whose packets vanish, both ways, once it is closed off.
type hole struct {
	net.PacketConn
	off *atomic.Bool
}

func (h hole) WriteTo(b []byte, a net.Addr) (int, error) {
	if h.off.Load() {
		return len(b), nil
	}
	return h.PacketConn.WriteTo(b, a)
}

func (h hole) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, a, err := h.PacketConn.ReadFrom(b)
		if err != nil || !h.off.Load() {
			return n, a, err
		}
	}
}

// A QUIC connection into a black hole is noticed by its silence alone. The request is then repeated, if that is asked for.
func TestSilence(t *testing.T) {
	server, client := certificate(t, "fra-1")
	url := serve(t, server, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, c := range []struct {
		retry Retry
		want  Class
	}{{RetryNever, Timeout}, {RetryIdleClosed, Timeout}, {RetryBroken, OK}} {
		var first atomic.Pointer[atomic.Bool]
		o := load(url, HTTP3, client)
		o.KeepAlive, o.Retry, o.Silence = true, c.retry, 500*time.Millisecond
		o.ListenUDP = func() (net.PacketConn, error) {
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			off := new(atomic.Bool)
			first.CompareAndSwap(nil, off)
			return hole{pc, off}, err
		}
		p, err := newPlan(o)
		if err != nil {
			t.Fatal(err)
		}
		cl := newClient(p)
		ctx, cancel := context.WithTimeout(t.Context(), p.Timeout)
		if _, _, err := cl.request(ctx); err != nil {
			t.Fatal(err)
		}
		first.Load().Store(true)
		begun := time.Now()
		_, retried, err := cl.request(ctx)
		if classify(err) != c.want || retried != (c.want == OK) || ctx.Err() != nil {
			t.Errorf("retry %v: %v after %v, repeated %t, want %v", c.retry, err, time.Since(begun), retried, c.want)
		}
		cancel()
		cl.close()
	}
}

func TestOnlyIdempotentRequestsAreRepeated(t *testing.T) {
	for method, ok := range map[string]bool{"": true, "GET": true, "PUT": true, "POST": false, "PATCH": false, "get": false} {
		o := Options{URL: "https://127.0.0.1/", Rate: 1, Duration: time.Second, Method: method, Retry: RetryBroken}
		if _, err := newPlan(o); (err == nil) != ok {
			t.Errorf("%q: %v", method, err)
		}
	}
}

func TestOnce(t *testing.T) {
	server, client := certificate(t, "fra-1")
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/never":
			<-r.Context().Done()
		}
		w.Header().Set("X-Proto", r.Proto)
		io.WriteString(w, "hello")
	}))
	for _, protocol := range []Protocol{HTTP1, HTTP2, HTTP3} {
		o := Options{URL: url, Protocol: protocol, TLS: client, Timeout: 20 * time.Second, ResponseField: "X-Proto"}
		rec, err := Once(t.Context(), o)
		if err != nil || rec.Class != OK || rec.Status != 200 || rec.Edge != "fra-1" || rec.Bytes != 5 || rec.Field == "" || rec.Latency <= 0 {
			t.Errorf("%v: %+v %v", protocol, rec, err)
		}
		o.URL = url + "missing"
		if rec, err := Once(t.Context(), o); err == nil || rec.Class != Status || rec.Status != 404 {
			t.Errorf("%v: a status of 400 or more is a failure: %+v %v", protocol, rec, err)
		}
		o.URL = url + "never"
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if rec, err := Once(ctx, o); !errors.Is(err, context.Canceled) || rec.Class == OK {
			t.Errorf("%v: it must end with its context: %+v %v", protocol, rec, err)
		}
		cancel()
	}
	if _, err := Once(t.Context(), Options{URL: "ftp://host/", TLS: &tls.Config{}}); err == nil {
		t.Error("options are checked")
	}
}

// leaving is an HTTP/3 server that sends GOAWAY (RFC 9114 §5.2) on its first connection after the first request, whose response never
// ends.
func leaving(t *testing.T, conf *tls.Config) string {
	t.Helper()
	conf = http3.ConfigureTLSConfig(conf.Clone())
	l, err := quic.ListenAddr("127.0.0.1:0", conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); serving.Wait() })
	serving.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.CloseWithError(0x100, "")
				control, err := c.OpenUniStream()
				if err != nil {
					return
				}
				control.Write([]byte{0, 4, 0}) // a control stream with empty SETTINGS
				for first := n == 0; ; first = false {
					s, err := c.AcceptStream(ctx)
					if err != nil {
						return
					}
					s.Write([]byte{1, 3, 0, 0, 0xd9}) // HEADERS: :status 200 is entry 25 of QPACK's static table
					if first {
						control.Write([]byte{7, 1, 4}) // GOAWAY: streams from 4 on are not served
						continue
					}
					s.Close()
				}
			})
		}
	})
	return "https://" + l.Addr().String() + "/"
}

// A connection after GOAWAY takes no further request, although it stays open for the one under way.
func TestHTTP3GoAwayMeansAnotherConnection(t *testing.T) {
	server, client := certificate(t, "fra-1")
	o := load(leaving(t, server), HTTP3, client)
	o.KeepAlive = true
	p, err := newPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(p)
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), p.Timeout)
	defer cancel()
	var endless sync.WaitGroup
	defer endless.Wait()
	defer cancel()
	begun := make(chan struct{})
	endless.Go(func() {
		conn, _, err := c.pool.take(ctx)
		close(begun)
		if err == nil {
			conn.do(ctx)
			c.pool.put(conn, ctx.Err())
		}
	})
	<-begun
	for c.dialled.Load() < 2 {
		if _, _, err := c.request(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if _, _, err := c.request(ctx); err != nil || c.dialled.Load() != 2 {
			t.Errorf("on the second connection: %v, %d dialled", err, c.dialled.Load())
		}
	}
}
