package health

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

const token = "TOKEN-OF-THIS-PROCESS"

// pipeline answers as the request pipeline does.
func pipeline(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != SelfPath || r.Header.Get(SelfField) != token {
		http.NotFound(w, r)
		return
	}
	w.Header().Set(SelfField, SelfReply(token))
}

func certificate(t *testing.T, notBefore, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, DNSNames: []string{"shop.example.com"},
		NotBefore: notBefore, NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listenTCP serves HTTP/1.1 and HTTP/2 with the certificate, or in the clear.
func listenTCP(t *testing.T, cert *tls.Certificate, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cert == nil {
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
	} else {
		srv.EnableHTTP2 = true
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// TestAProbeFromABalancersAddress introduces itself, and only there.
func TestAProbeFromABalancersAddress(t *testing.T) {
	for prefix, want := range map[string]bool{"127.0.0.0/8": true, "192.0.2.0/24": false} {
		for _, protocol := range []Protocol{H1, H2} {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan string, 1)
			go func() {
				defer close(sent)
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				b := make([]byte, 15)
				_, _ = io.ReadFull(c, b)
				sent <- string(b)
			}()
			p := SelfProbe{Protocol: protocol, Address: ln.Addr().String(), Token: token, Proxies: []netip.Prefix{netip.MustParsePrefix(prefix)}}
			_, _ = p.Probe(t.Context())
			ln.Close()
			if got := <-sent; (got == "PROXY UNKNOWN\r\n") != want {
				t.Errorf("%s, %s: the probe began with %q", prefix, protocol, got)
			}
		}
	}
}

func listenUDP(t *testing.T, cert tls.Certificate, h http.HandlerFunc) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(pc) }()
	t.Cleanup(func() { srv.Close(); pc.Close(); <-done })
	return pc.LocalAddr().String()
}

// listen opens a listener for the probe's protocol and fills in its address.
func (p SelfProbe) listen(t *testing.T, cert tls.Certificate, h http.HandlerFunc) SelfProbe {
	t.Helper()
	switch {
	case p.Protocol == H3:
		p.Address = listenUDP(t, cert, h)
	case p.TLS:
		p.Address = listenTCP(t, &cert, h)
	default:
		p.Address = listenTCP(t, nil, h)
	}
	return p
}

var everyWay = map[string]SelfProbe{
	"h1 plain": {Protocol: H1, Token: token}, "h2 plain": {Protocol: H2, Token: token},
	"h1 TLS": {Protocol: H1, TLS: true, Token: token}, "h2 TLS": {Protocol: H2, TLS: true, Token: token},
	"h3": {Protocol: H3, TLS: true, Token: token},
}

func TestSelfProbe(t *testing.T) {
	now := time.Now()
	good := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	for way, p := range everyWay {
		t.Run(way, func(t *testing.T) {
			var mu sync.Mutex
			var got *http.Request
			p := p.listen(t, good, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				got = r
				mu.Unlock()
				pipeline(w, r)
			})
			took, err := p.Probe(soon(t))
			if err != nil || took <= 0 {
				t.Fatalf("took %v, error %v", took, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if want := map[Protocol]int{H1: 1, H2: 2, H3: 3}[p.Protocol]; got.ProtoMajor != want || got.Host != p.Address || (got.TLS != nil) != p.TLS {
				t.Errorf("the listener got HTTP/%d for %s, TLS %v", got.ProtoMajor, got.Host, got.TLS != nil)
			}
		})
	}
}

func TestSelfProbeSendsTheServerName(t *testing.T) {
	now := time.Now()
	good := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	for way, p := range everyWay {
		t.Run(way, func(t *testing.T) {
			p.ServerName = "shop.example.com"
			p := p.listen(t, good, func(w http.ResponseWriter, r *http.Request) {
				if r.Host == "shop.example.com" && (r.TLS == nil || r.TLS.ServerName == "shop.example.com") {
					pipeline(w, r)
				}
			})
			if _, err := p.Probe(soon(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSelfProbeFromItsSource: the listener sees the address that the probe was given.
func TestSelfProbeFromItsSource(t *testing.T) {
	now := time.Now()
	good := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	source := netip.MustParseAddr("127.0.0.9")
	for way, p := range everyWay {
		t.Run(way, func(t *testing.T) {
			if runtime.GOOS != "linux" {
				t.Skip("only Linux has all of 127.0.0.0/8")
			}
			seen := make(chan string, 1)
			p.Source = source
			p := p.listen(t, good, func(w http.ResponseWriter, r *http.Request) {
				seen <- r.RemoteAddr
				pipeline(w, r)
			})
			if _, err := p.Probe(soon(t)); err != nil {
				t.Fatal(err)
			}
			if from, err := netip.ParseAddrPort(<-seen); err != nil || from.Addr().Unmap() != source {
				t.Errorf("it came from %s, %v", from, err)
			}
		})
	}
}

// TestSelfProbeStaysOnTheMachine: another machine may have the same anycast address, and would answer in our stead.
func TestSelfProbeStaysOnTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("told by Linux's EINVAL")
	}
	if local, err := os.ReadFile("/proc/sys/net/ipv4/conf/all/route_localnet"); err != nil || string(local) != "0\n" {
		t.Skipf("this machine sends loopback addresses out (route_localnet is %q)", local)
	}
	for way, p := range everyWay {
		t.Run(way, func(t *testing.T) {
			p.Address, p.Source = "192.0.2.1:443", netip.MustParseAddr("127.0.0.1")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := p.Probe(ctx); ReasonOf(err) != ReasonUnreachable {
				t.Errorf("%v (%v), want unreachable", ReasonOf(err), err)
			}
		})
	}
}

func TestSelfProbeFails(t *testing.T) {
	now := time.Now()
	good := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	tests := []struct {
		why     string
		cert    tls.Certificate
		handler http.HandlerFunc
		onlyTLS bool
		want    Reason
	}{
		{"the certificate has run out", certificate(t, now.Add(-time.Hour), now.Add(-time.Minute)), pipeline, true, ReasonCertificate},
		{"the certificate is not valid yet", certificate(t, now.Add(time.Hour), now.Add(2*time.Hour)), pipeline, true, ReasonCertificate},
		{"another process with a token of its own", good, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(SelfField, SelfReply("other"))
		}, false, ReasonNotSelf},
		{"any web server", good, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("It works!")) }, false, ReasonNotSelf},
		{"a server that does not know the token", good, http.NotFound, false, ReasonStatus},
		{"a redirection", good, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://x/", http.StatusPermanentRedirect)
		}, false, ReasonStatus},
		{"a pipeline that hangs", good, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, ReasonTimeout},
	}
	for _, tt := range tests {
		for way, p := range everyWay {
			if tt.onlyTLS && !p.TLS {
				continue
			}
			t.Run(tt.why+"/"+way, func(t *testing.T) {
				p := p.listen(t, tt.cert, tt.handler)
				ctx := soon(t)
				if tt.want == ReasonTimeout {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
				}
				_, err := p.Probe(ctx)
				if got := ReasonOf(err); got != tt.want {
					t.Errorf("%v (%v), want %v", got, err, tt.want)
				}
			})
		}
	}
}

func TestSelfProbeOfADeadListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for way, p := range everyWay {
		t.Run(way, func(t *testing.T) {
			p.Address = l.Addr().String() // for TCP: accepted by the kernel, never answered; for UDP: nobody
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := p.Probe(ctx)
			if err == nil {
				t.Fatal("success")
			}
			if p.Protocol != H3 && ReasonOf(err) != ReasonTimeout {
				t.Errorf("%v (%v), want timeout", ReasonOf(err), err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("the probe outlived its timeout: %v", took)
			}
		})
	}
}

func TestSelfProbeOfAListenerWithoutTheProtocol(t *testing.T) {
	now := time.Now()
	cert := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	h1only := httptest.NewUnstartedServer(http.HandlerFunc(pipeline))
	h1only.Config.ErrorLog = log.New(io.Discard, "", 0)
	h1only.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	h1only.StartTLS()
	defer h1only.Close()
	p := SelfProbe{Protocol: H2, TLS: true, Token: token, Address: h1only.Listener.Addr().String()}
	if _, err := p.Probe(soon(t)); ReasonOf(err) != ReasonTLS {
		t.Errorf("h2 to a listener without it: %v (%v), want a TLS failure", ReasonOf(err), err)
	}
	p.Address, p.Protocol = listenTCP(t, nil, pipeline), H1
	if _, err := p.Probe(soon(t)); ReasonOf(err) != ReasonTLS {
		t.Errorf("TLS to a plain listener: %v (%v), want a TLS failure", ReasonOf(err), err)
	}
	p.Protocol = "h4"
	if _, err := p.Probe(soon(t)); err == nil || !strings.Contains(err.Error(), "h4") {
		t.Errorf("an unknown protocol: %v", err)
	}
}

func TestSelfProbeLeavesNothing(t *testing.T) {
	now := time.Now()
	good := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	var probes []SelfProbe
	for _, p := range everyWay {
		probes = append(probes, p.listen(t, good, pipeline), p.listen(t, good, http.NotFound))
	}
	ask := func() {
		for _, p := range probes {
			p.Probe(soon(t))
		}
	}
	ask()
	goroutines := func() int { return runtime.NumGoroutine() }
	time.Sleep(100 * time.Millisecond)
	before := goroutines()
	for range 10 {
		ask()
	}
	// What a closed connection leaves running ends by itself, soon; what leaks stays.
	deadline := time.Now().Add(20 * time.Second)
	for goroutines() > before+5 {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines after 100 probes, %d before:\n%s", goroutines(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestDialAddress(t *testing.T) {
	for listen, want := range map[string]string{
		":443": "127.0.0.1:443", "0.0.0.0:80": "127.0.0.1:80", "[::]:443": "[::1]:443",
		"192.0.2.1:443": "192.0.2.1:443", "[2001:db8::1]:443": "[2001:db8::1]:443", "localhost:80": "localhost:80",
	} {
		if got, err := dialAddress(listen); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", listen, got, err, want)
		}
	}
	if _, err := dialAddress("443"); err == nil {
		t.Error("443 is not an address")
	}
}
