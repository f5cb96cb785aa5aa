package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"nearcast/internal/lab/pki"
)

// server serves all three versions on one port of 127.0.0.1 and returns a configuration for them.
func server(t *testing.T) Config {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	authority, err := pki.NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	ca, certFile, keyFile := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	err = errors.Join(authority.WriteFile(ca), authority.Issue(now, "tyo-1", []string{"www.lab.example"}, nil, certFile, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := pki.LoadPool(ca)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Proto, " ", r.URL.Path, " ", r.RemoteAddr)
	})
	tcp := httptest.NewUnstartedServer(handler)
	tcp.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	tcp.EnableHTTP2 = true
	tcp.StartTLS()
	t.Cleanup(tcp.Close)
	address := netip.MustParseAddrPort(tcp.Listener.Addr().String())
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	h3 := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})}
	served := make(chan struct{})
	go func() { defer close(served); _ = h3.Serve(udp) }()
	t.Cleanup(func() { _ = h3.Close(); _ = udp.Close(); <-served })
	return Config{Host: "www.lab.example", Address: address, Roots: roots, Timeout: 20 * time.Second}
}

func TestSpeaksExactlyTheVersionAndNamesTheEdge(t *testing.T) {
	cfg := server(t)
	for protocol, want := range map[Protocol]string{H1: "HTTP/1.1", H2: "HTTP/2.0", H3: "HTTP/3.0"} {
		cfg.Protocol = protocol
		c := New(cfg)
		res, err := c.Get(t.Context(), "/a")
		if err != nil || res.Status != 200 || res.Protocol != want || res.Edge != "tyo-1" || len(res.Body) == 0 {
			t.Errorf("%s: %+v %v", protocol, res, err)
		}
		c.Close()
	}
}

func TestFreshMeansANewConnection(t *testing.T) {
	cfg := server(t)
	for _, protocol := range []Protocol{H1, H2, H3} {
		for _, fresh := range []bool{false, true} {
			cfg.Protocol, cfg.Fresh = protocol, fresh
			c := New(cfg)
			first, err1 := c.Get(t.Context(), "/")
			second, err2 := c.Get(t.Context(), "/")
			if err := errors.Join(err1, err2); err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			if sameConnection := string(first.Body) == string(second.Body); sameConnection == fresh {
				t.Errorf("%s, fresh %v: %s then %s", protocol, fresh, first.Body, second.Body)
			}
			c.Close()
		}
	}
}

// A kept connection that the other side has dropped costs no request.
func TestRepeatsOnceOnAKeptConnection(t *testing.T) {
	cfg := server(t)
	cfg.Protocol = H2
	breakable := make(chan net.Conn, 2)
	c := New(cfg)
	defer c.Close()
	tcp := c.transport.(tcpTransport)
	dial := tcp.DialContext
	tcp.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		breakable <- conn
		return conn, err
	}
	if _, err := c.Get(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	(<-breakable).Close()
	res, err := c.Get(t.Context(), "/")
	if err != nil || res.Status != 200 {
		t.Errorf("after the connection broke: %+v %v", res, err)
	}
}

func TestAStrangersCertificateIsRefused(t *testing.T) {
	cfg := server(t)
	cfg.Host = "elsewhere.example"
	for _, protocol := range []Protocol{H1, H2, H3} {
		cfg.Protocol = protocol
		c := New(cfg)
		if res, err := c.Get(t.Context(), "/"); err == nil {
			t.Errorf("%s: %+v", protocol, res)
		}
		c.Close()
	}
}
