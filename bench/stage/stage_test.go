package stage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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

func TestHold(t *testing.T) {
	var asked, open atomic.Int64
	var short atomic.Bool
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if short.Load() {
			_, _ = w.Write(make([]byte, 1000))
			return
		}
		files(w, r)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	conf := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}
	conf.RootCAs.AddCert(srv.Certificate())
	l := table.Load{Protocol: peers.HTTP1TLS, Address: srv.Listener.Addr().String(), Size: 1024, Connections: 40}
	l.End = func() error {
		if a, o := asked.Load(), open.Load(); a != 40 || o != 40 {
			return fmt.Errorf("%d requests, %d connections open", a, o)
		}
		return nil
	}
	if err := hold(t.Context(), conf, l, 0); err != nil {
		t.Error(err)
	}
	short.Store(true)
	if err := hold(t.Context(), conf, l, 0); err == nil || !strings.Contains(err.Error(), "status 200 with 1000 bytes") {
		t.Errorf("another size: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hold(ctx, conf, l, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
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
