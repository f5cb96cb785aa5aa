package stage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
	"nearcast/bench/process"
	"nearcast/bench/table"
	"nearcast/internal/pki"
)

// newOrigin runs an origin for the test.
func newOrigin(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- origin.New().Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// proxyTo is a reverse proxy without a cache.
func proxyTo(o netip.AddrPort) http.Handler {
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: o.String()})
}

// files answers with the bodies.
var files = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(origin.Body(size))
})

// serve runs a server for the test, over TLS unless p is HTTP1.
func serve(t *testing.T, p peers.Protocol, h http.Handler, conf *tls.Config) (address string, roots *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are meant
	if p == peers.HTTP1 {
		srv.Start()
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String(), nil
	}
	dir := t.TempDir()
	ca, err := pki.NewAuthority(time.Now(), "test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := ca.Issue(Host, []string{Host}, nil, cert, key); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	srv.TLS = &tls.Config{}
	if conf != nil {
		srv.TLS = conf
	}
	srv.TLS.Certificates = []tls.Certificate{pair}
	srv.EnableHTTP2 = p == peers.HTTP2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), ca.Pool()
}

func TestProve(t *testing.T) {
	wrong := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1024)) })
	failing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	for _, c := range []struct {
		why     string
		over    peers.Protocol
		serves  peers.Protocol // what the server is made for
		work    peers.Work
		handler func(netip.AddrPort) http.Handler
		tls     *tls.Config
		fault   string
	}{
		{why: "hits", over: peers.HTTP1, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return files }},
		{why: "hits over TLS", over: peers.HTTP1TLS, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return files }},
		{why: "hits over HTTP/2", over: peers.HTTP2, work: peers.Files, handler: func(netip.AddrPort) http.Handler { return files }},
		{why: "proxied", over: peers.HTTP1, work: peers.Proxied, handler: proxyTo},
		{why: "no cache", over: peers.HTTP1, work: peers.Cached, handler: proxyTo, fault: "the origin was asked 3 times: not everything was a hit"},
		{why: "a cache where there must be none", over: peers.HTTP1, work: peers.Proxied, handler: func(netip.AddrPort) http.Handler { return files },
			fault: "the origin was asked only 0 times"},
		{why: "another body", over: peers.HTTP1, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return wrong }, fault: "a body of 1024 bytes that is not the one of 1024"},
		{why: "errors", over: peers.HTTP1, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return failing }, fault: "status 502"},
		{why: "HTTP/2 is not spoken", over: peers.HTTP2, serves: peers.HTTP1TLS, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return files },
			fault: "it did not answer as it must"},
		{why: "another TLS", over: peers.HTTP1TLS, work: peers.Cached, handler: func(netip.AddrPort) http.Handler { return files },
			tls: &tls.Config{MaxVersion: tls.VersionTLS12}, fault: "TLS 1.2 instead of TLS 1.3"},
	} {
		t.Run(c.why, func(t *testing.T) {
			o := newOrigin(t)
			serves := c.over
			if c.serves != "" {
				serves = c.serves
			}
			address, roots := serve(t, serves, c.handler(o), c.tls)
			s := &server{row: table.Row{Protocol: c.over, Body: 1024}, site: peers.Site{Origin: o, Work: c.work}, address: address, roots: roots}
			patience := 20 * time.Second
			if c.fault != "" { // what is wrong stays so; it is only asked again until the time is over
				patience = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := s.prove(ctx)
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("prove: %v, want %q", err, c.fault)
			}
		})
	}
}

func TestAlike(t *testing.T) {
	good := tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, CurveID: tls.X25519}
	for want, change := range map[string]func(*tls.ConnectionState){
		"":              func(*tls.ConnectionState) {},
		"TLS 1.2":       func(s *tls.ConnectionState) { s.Version = tls.VersionTLS12 },
		"AES_256":       func(s *tls.ConnectionState) { s.CipherSuite = tls.TLS_AES_256_GCM_SHA384 },
		"CurveP256":     func(s *tls.ConnectionState) { s.CurveID = tls.CurveP256 },
		"X25519MLKEM76": func(s *tls.ConnectionState) { s.CurveID = tls.X25519MLKEM768 },
	} {
		state := good
		change(&state)
		if err := alike(peers.HTTP3, 3, &state); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if err := alike(peers.HTTP2, 1, &good); err == nil {
		t.Error("HTTP/1 was taken for HTTP/2")
	}
	if err := alike(peers.HTTP1TLS, 1, nil); err == nil {
		t.Error("no TLS was taken for TLS")
	}
}

func TestCheckCountsSinceTheLastLook(t *testing.T) {
	o := newOrigin(t)
	s := &server{site: peers.Site{Origin: o, Work: peers.Proxied}}
	ask := func(n int) {
		for range n {
			resp, err := http.Get("http://" + o.String() + "/1024")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	ask(5)
	if err := s.Check(t.Context(), 5); err != nil {
		t.Error(err)
	}
	ask(2)
	if err := s.Check(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "asked only 2 times") {
		t.Errorf("%v", err)
	}
}

// serveBodies is a TLS server of the bodies that counts its connections; over is the loader for it.
func serveBodies(t *testing.T, h http.HandlerFunc) (address string, open *atomic.Int64, over loader) {
	t.Helper()
	open = new(atomic.Int64)
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv.Listener.Addr().String(), open, loader{&tls.Config{RootCAs: roots, ServerName: "example.com"}}
}

func TestLoadFillsTheWindow(t *testing.T) {
	for _, over := range []peers.Protocol{peers.HTTP1TLS, peers.HTTP2} {
		address, open, l := serveBodies(t, files)
		streams := 1
		if over == peers.HTTP2 {
			streams = 2
		}
		var marks []int64
		mark := func() error { marks = append(marks, open.Load()); return nil }
		saw, err := l.Load(t.Context(), table.Load{Protocol: over, Address: address, Size: 1024, Connections: 3, Streams: streams,
			Warmup: 20 * time.Millisecond, Duration: 100 * time.Millisecond, Begin: mark, End: mark})
		if err != nil || saw.Requests == 0 || saw.Failed != 0 || saw.Elapsed < 100*time.Millisecond || saw.P50 == 0 || saw.P99 < saw.P50 {
			t.Errorf("%s: %+v, %v", over, saw, err)
		}
		if len(marks) != 2 || marks[0] != 3 || marks[1] != 3 {
			t.Errorf("%s: connections at the begin and the end: %v", over, marks)
		}
	}
}

func TestLoadSaysWhatFails(t *testing.T) {
	address, _, l := serveBodies(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
	nothing := func() error { return nil }
	o := table.Load{Protocol: peers.HTTP1TLS, Address: address, Size: 1024, Connections: 1, Streams: 1,
		Warmup: 10 * time.Millisecond, Duration: 50 * time.Millisecond, Begin: nothing, End: nothing}
	if saw, err := l.Load(t.Context(), o); err != nil || saw.Failed == 0 || !strings.HasPrefix(saw.Failure, "length: ") {
		t.Errorf("bodies of another length: %+v, %v", saw, err)
	}
	broken := errors.New("no /proc")
	o.End = func() error { return broken }
	if _, err := l.Load(t.Context(), o); !errors.Is(err, broken) {
		t.Errorf("what cannot be read: %v", err)
	}
	o.Address = "127.0.0.1:1"
	if _, err := l.Load(t.Context(), o); err == nil {
		t.Error("nobody listens, and nothing is said")
	}
}

func TestHold(t *testing.T) {
	address, open, l := serveBodies(t, files)
	o := table.Load{Protocol: peers.HTTP1TLS, Address: address, Size: 1024, Connections: 40, Duration: 20 * time.Millisecond}
	most := make(chan int64, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		var seen int64
		for ctx.Err() == nil {
			seen = max(seen, open.Load())
			time.Sleep(time.Millisecond)
		}
		most <- seen
	}()
	_, err := l.Hold(t.Context(), o, process.Self())
	cancel()
	if seen := <-most; err != nil || seen != 40 {
		t.Errorf("%d connections at a time: %v", seen, err)
	}
	address, _, l = serveBodies(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
	o.Address = address
	if _, err := l.Hold(t.Context(), o, process.Self()); err == nil || !strings.Contains(err.Error(), "40 failed") {
		t.Errorf("another length: %v", err)
	}
}

func TestParseBusy(t *testing.T) {
	cores, err := parseBusy("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 1 20 7000 500 3 4 5 90 0\ncpu1 10 0 0 0 0 0 0 0 0 0\nintr 5 5 5 5 5 5 5 5 5\n")
	if err != nil || len(cores) != 2 || cores[0] != 1330*time.Millisecond || cores[1] != 100*time.Millisecond {
		t.Errorf("%v, %v", cores, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 x 5 6 7 y 9 10\n"} {
		if _, err := parseBusy(bad); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
	if cores, err := busyTimes(); err != nil || len(cores) == 0 {
		t.Errorf("of this machine: %v, %v", cores, err)
	}
}

func FuzzParseBusy(f *testing.F) {
	f.Add("cpu0 100 1 20 7000 500 3 4 5 90 0\n")
	f.Fuzz(func(t *testing.T, text string) { _, _ = parseBusy(text) })
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if got := tail(file); got != "" {
		t.Errorf("without a log: %q", got)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 2000)+"the end"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tail(file); len(got) > 1100 || !strings.HasSuffix(got, "the end") {
		t.Errorf("%q", got)
	}
}
