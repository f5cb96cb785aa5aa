package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// tunnelClient is a front end's side of an exchange that may change protocols, and the client's end of the connection.
type tunnelClient struct {
	client
	net.Conn // the client's end
	server   *pipeTunnel
}

// pipeTunnel is a message.Tunnel on a connection.
type pipeTunnel struct{ *net.TCPConn }

func (t *pipeTunnel) Interrupt() { t.Close() }

func (c *tunnelClient) SwitchProtocols(f message.Fields) (message.Tunnel, error) {
	c.status, c.fields = 101, f
	return c.server, nil
}

// newTunnelClient connects both ends by way of the kernel, so that each can be half-closed.
func newTunnelClient(t *testing.T) *tunnelClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return &tunnelClient{Conn: near, server: &pipeTunnel{far.(*net.TCPConn)}}
}

func (c *tunnelClient) Write(p []byte) (int, error) { return c.client.Write(p) } // the exchange's, not the connection's

// switching is an origin that changes protocols and hands the connection to use.
func switching(t *testing.T, use func(c *net.TCPConn, r *bufio.Reader)) string {
	return originServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "upgrade" {
			http.Error(w, "no websocket", 400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", r.Header.Get("X-Accept"))
		use(c.(*net.TCPConn), rw.Reader)
	})
}

func upgradeRequest() *message.Request {
	r := request("GET", "/chat", "sec-websocket-key", "eA==", "x-accept", "y")
	r.Protocol, r.Upgrade = message.HTTP1, websocket
	return r
}

// open begins a tunnel and returns its client's side; done is closed when Serve has returned.
func (e *edge) open(t *testing.T, ctx context.Context, r *message.Request) (*tunnelClient, chan struct{}) {
	c, done := newTunnelClient(t), make(chan struct{})
	go func() {
		defer close(done)
		e.Serve(ctx, c, r)
	}()
	return c, done
}

func TestATunnelCarriesBothWaysAndEndsByHalves(t *testing.T) {
	var log strings.Builder
	url := switching(t, func(c *net.TCPConn, r *bufio.Reader) {
		io.WriteString(c, "hello ")
		all, _ := io.ReadAll(r) // up to the client's half close
		fmt.Fprintf(c, "%d bytes", len(all))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	c, done := e.open(t, t.Context(), upgradeRequest())
	if _, err := io.WriteString(c.Conn, strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	c.Conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c.Conn)
	if string(got) != "hello 100000 bytes" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	within(t, "Serve returns when both have ended", done)
	if c.status != 101 || c.fields.Get("sec-websocket-accept") != "y" || c.fields.Get("via") != "1.1 fra-1 (nearcast)" || c.fields.Has("upgrade") || c.aborted {
		t.Errorf("%d %v, aborted %v", c.status, c.fields, c.aborted)
	}
	line := log.String()
	for _, want := range []string{`"status":101,"bytes_out":18,"bytes_in":100000,`, `"origin":"` + url} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	for _, not := range []string{"reason", "incomplete", "cache"} {
		if strings.Contains(line, not) {
			t.Errorf("%s in %s", not, line)
		}
	}
	m := e.table.services[0].meters
	if m.tunnels.Get() != 0 || m.tunnelIn.Get() != 100_000 || m.tunnelOut.Get() != 18 || m.requests[message.HTTP1][code1xx].Get() != 1 {
		t.Errorf("%v open, %d in, %d out", m.tunnels.Get(), m.tunnelIn.Get(), m.tunnelOut.Get())
	}
}

func TestAnEndOfATunnelEndsBoth(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(c *tunnelClient, origin *net.TCPConn, leave context.CancelFunc, stop context.CancelCauseFunc)
		want string
	}{
		{"the origin is gone", func(_ *tunnelClient, o *net.TCPConn, _ context.CancelFunc, _ context.CancelCauseFunc) {
			o.SetLinger(0)
			o.Close()
		}, `"blame":"origin","reason":"tunnel cut"`},
		{"the client is gone", func(c *tunnelClient, _ *net.TCPConn, leave context.CancelFunc, _ context.CancelCauseFunc) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Conn.Close()
			leave()
		}, `"blame":"client","reason":"tunnel cut"`},
		{"it was idle", func(c *tunnelClient, _ *net.TCPConn, _ context.CancelFunc, _ context.CancelCauseFunc) {
			c.server.SetDeadline(time.Unix(1, 0))
		}, `"blame":"client","reason":"tunnel idle"`},
		{"the edge stops", func(c *tunnelClient, _ *net.TCPConn, leave context.CancelFunc, stop context.CancelCauseFunc) {
			stop(errors.New("time is up"))
			leave()
		}, `"blame":"edge","reason":"edge stopped"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			origins := make(chan *net.TCPConn, 1)
			over := make(chan struct{})
			url := switching(t, func(o *net.TCPConn, r *bufio.Reader) {
				origins <- o
				defer close(over)
				io.WriteString(o, "!")
				io.Copy(io.Discard, r)
			})
			e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
			server, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			ctx, leave := context.WithCancel(message.WithServer(t.Context(), server))
			defer leave()
			tc, done := e.open(t, ctx, upgradeRequest())
			if _, err := io.ReadFull(tc.Conn, make([]byte, 1)); err != nil { // it is open
				t.Fatal(err)
			}
			c.end(tc, <-origins, leave, stop)
			within(t, "Serve returns", done)
			within(t, "the origin's side ends", over)
			if got := log.String(); !strings.Contains(got, c.want) || !strings.Contains(got, `"status":101`) || !strings.Contains(got, `"incomplete":true`) || !tc.aborted {
				t.Errorf("aborted %v; want %s in %s", tc.aborted, c.want, got)
			}
		})
	}
}

func TestAnOriginMayRefuseATunnel(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.Error(w, "no", http.StatusForbidden)
	})}}, nil)
	for range 2 {
		if c := e.serve(upgradeRequest()); c.status != 403 || c.body.String() != "no\n" || c.fields.Has("cache-status") {
			t.Errorf("%d %q %v", c.status, c.body.String(), c.fields)
		}
	}
}

func TestAnotherUpgradeIsIgnored(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "["+r.Header.Get("Upgrade")+"]") })}}, nil)
	r := request("GET", "/")
	r.Upgrade = "h2c"
	if c := e.serve(r); c.status != 200 || c.body.String() != "[]" {
		t.Errorf("%d %q", c.status, c.body.String())
	}
	r = request("POST", "/")
	r.Upgrade = websocket
	if c := e.serve(r); c.status != 200 || c.body.String() != "[]" {
		t.Errorf("POST: %d %q", c.status, c.body.String())
	}
}

// h2cOrigin is an origin that speaks HTTP/2 without TLS.
func h2cOrigin(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c" + strings.TrimPrefix(s.URL, "http")
}

// flushing is a client that tells of what reached it, in order.
type flushing struct {
	client
	unsent []byte
	events chan string
}

func (c *flushing) WriteInformational(status int, f message.Fields) error {
	c.events <- fmt.Sprint(status, " ", f.Get("link"))
	return nil
}

func (c *flushing) WriteHeader(status int, f message.Fields, length int64) error {
	c.unsent = fmt.Append(nil, status, " ")
	return c.client.WriteHeader(status, f, length)
}

func (c *flushing) Write(p []byte) (int, error) {
	c.unsent = append(c.unsent, p...)
	return len(p), nil
}

func (c *flushing) Flush() error {
	if len(c.unsent) > 0 {
		c.events <- string(c.unsent)
		c.unsent = nil
	}
	return nil
}

// stream is a request body that the test writes.
type stream struct {
	*io.PipeReader
}

func (s stream) Interrupt() { s.CloseWithError(io.ErrClosedPipe) }

func TestAStreamOfMessagesGoesThroughAsItComes(t *testing.T) {
	url := h2cOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" || r.Proto != "HTTP/2.0" {
			t.Errorf("%s with te %q", r.Proto, r.Header.Get("Te"))
		}
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		http.NewResponseController(w).Flush()
		buf := make([]byte, 10)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				fmt.Fprintf(w, "<%s>", buf[:n])
				http.NewResponseController(w).Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	pr, pw := io.Pipe()
	r := request("POST", "/svc/Method", "te", "trailers", "content-type", "application/grpc")
	r.Body, r.ContentLength = stream{pr}, -1
	c := &flushing{events: make(chan string, 8)}
	done := make(chan struct{})
	go func() { defer close(done); e.Serve(t.Context(), c, r) }()
	expect := func(want string) {
		t.Helper()
		if got := <-c.events; got != want {
			t.Errorf("the client saw %q, want %q", got, want)
		}
	}
	expect("103 </a>")
	expect("200 ")
	for _, m := range []string{"one", "two"} {
		io.WriteString(pw, m)
		expect("<" + m + ">")
	}
	pw.Close()
	within(t, "Serve returns", done)
	if got := c.trailers.Get("grpc-status"); got != "0" {
		t.Errorf("trailers %v", c.trailers)
	}
	if got := c.fields.Get("via"); got != "2.0 fra-1 (nearcast)" {
		t.Errorf("via %q: the answer came by HTTP/2", got)
	}
}

func TestTheClientsTrailersGoToTheOrigin(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer)
	})}}, nil)
	r := request("POST", "/")
	r.Body, r.ContentLength = strings.NewReader("x"), -1
	r.Trailers = func() message.Fields {
		return message.Fields{{Name: "checksum", Value: "7"}, {Name: "x-forwarded-for", Value: "1.2.3.4"}}
	}
	if got := e.serve(r).body.String(); got != "map[Checksum:[7]]" {
		t.Errorf("the origin got %s", got)
	}
}

func TestATunnelThatWaitsForTheOriginAloneIsEndedByItsFrontEnd(t *testing.T) {
	var log strings.Builder
	heard, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	url := switching(t, func(_ *net.TCPConn, r *bufio.Reader) {
		io.Copy(io.Discard, r)
		close(heard)
		<-release // it neither sends nor ends
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	ctx, giveUp := context.WithCancelCause(t.Context())
	tc, done := e.open(t, ctx, upgradeRequest())
	tc.Conn.(*net.TCPConn).CloseWrite()
	within(t, "the origin hears of the client's end", heard)
	giveUp(&message.Error{Blame: message.BlameClient, Reason: tunnelIdle})
	within(t, "Serve returns", done)
	if got := log.String(); !strings.Contains(got, `"blame":"client","reason":"tunnel idle"`) {
		t.Errorf("logged %s", got)
	}
	if m := e.table.services[0].meters; m.tunnels.Get() != 0 {
		t.Errorf("%v tunnels open", m.tunnels.Get())
	}
}

// brokenTunnel panics when it is written to. A Read ends after Interrupt, and takes its time for it.
type brokenTunnel struct {
	client
	cut   chan struct{}
	once  sync.Once
	ended atomic.Bool
}

func (b *brokenTunnel) SwitchProtocols(message.Fields) (message.Tunnel, error) {
	return brokenEnd{b}, nil
}

type brokenEnd struct{ *brokenTunnel }

func (b brokenEnd) Interrupt() { b.once.Do(func() { close(b.cut) }) }
func (b brokenEnd) Read([]byte) (int, error) {
	<-b.cut
	time.Sleep(20 * time.Millisecond) // the longer, the more surely it is missed by whoever does not wait for it
	b.ended.Store(true)
	return 0, io.ErrClosedPipe
}
func (b brokenEnd) Write([]byte) (int, error) { panic("broken") }
func (b brokenEnd) CloseWrite() error         { return nil }

func TestNothingOfATunnelGoesOnAfterAPanic(t *testing.T) {
	var log strings.Builder
	e := newEdge(t, map[string][]string{"fra": {switching(t, func(o *net.TCPConn, r *bufio.Reader) {
		io.WriteString(o, "!")
		io.Copy(io.Discard, r)
	})}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
	c := &brokenTunnel{cut: make(chan struct{})}
	defer func() {
		if v := recover(); v != "broken" {
			t.Errorf("recovered %v", v)
		}
		if !c.ended.Load() {
			t.Error("the tunnel is still read after Serve has ended")
		}
		if n := e.table.services[0].meters.tunnels.Get(); n != 0 {
			t.Errorf("%v tunnels open", n)
		}
		if got := log.String(); !strings.Contains(got, `"blame":"edge","reason":"internal error","incomplete":true`) {
			t.Errorf("logged %s", got)
		}
	}()
	e.Serve(t.Context(), c, upgradeRequest())
}
