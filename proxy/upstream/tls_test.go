package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// secured is an https origin that speaks the protocols, and a Config that trusts it.
func secured(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) (*httptest.Server, Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = discardLog
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	cfg := quick
	cfg.Roots = x509.NewCertPool()
	cfg.Roots.AddCert(s.Certificate())
	return s, cfg
}

func echoProtocol(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.Proto+" "+r.TLS.ServerName+" "+r.Host)
}

func TestTheOriginChoosesTheVersion(t *testing.T) {
	for _, c := range []struct {
		h2    bool
		want  string
		proto message.Protocol
	}{
		{false, "HTTP/1.1 example.com shop.example", message.HTTP1},
		{true, "HTTP/2.0 example.com shop.example", message.HTTP2},
	} {
		conns := make(chan bool, 100)
		s, cfg := secured(t, echoProtocol, func(s *httptest.Server) {
			s.EnableHTTP2 = c.h2
			s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
				if st == http.StateNew {
					conns <- true
				}
			}
		})
		cfg.ServerName = "example.com"
		o := originOf(t, s.URL, cfg)
		for range 3 {
			res, body, err := fetch(t.Context(), o, &Attempt{Request: get("/")})
			if err != nil || body != c.want || res.Protocol != c.proto || !res.Peer.IsValid() {
				t.Fatalf("got %q, %v, want %q", body, err, c.want)
			}
		}
		if len(conns) != 1 {
			t.Errorf("%v: %d connections", c.proto, len(conns))
		}
	}
}

func TestAnOriginThatProvesNothingIsRefused(t *testing.T) {
	for what, change := range map[string]func(*httptest.Server, *Config){
		"unknown authority": func(_ *httptest.Server, c *Config) { c.Roots = x509.NewCertPool() },
		"another name":      func(_ *httptest.Server, c *Config) { c.ServerName = "other.test" },
		"TLS 1.1": func(s *httptest.Server, _ *Config) {
			s.TLS.MaxVersion, s.TLS.MinVersion = tls.VersionTLS11, tls.VersionTLS10
		},
		"no common version": func(s *httptest.Server, _ *Config) { s.TLS.NextProtos = []string{"spdy/3"} },
	} {
		s, cfg := secured(t, echoProtocol, nil)
		change(s, &cfg)
		o := originOf(t, s.URL, cfg)
		_, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		want(t, what, err, message.BlameOrigin, 502, "tls failed", true)
		if o.inFlight.Load() != 0 {
			t.Errorf("%s: still in flight", what)
		}
	}
}

func TestAHandshakeThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, cfg := secured(t, echoProtocol, nil)
	cfg.ConnectTimeout = 50 * time.Millisecond
	_, err = originOf(t, "https://"+l.Addr().String(), cfg).RoundTrip(t.Context(), &Attempt{Request: get("/")})
	want(t, "it says nothing", err, message.BlameOrigin, 504, "connect timeout", true)
}

func TestSchemes(t *testing.T) {
	for in, addr := range map[string]string{
		"http://a": "a:80", "http://a:1": "a:1", "https://a": "a:443", "h2c://a": "a:80", "https://[2001:db8::1]": "[2001:db8::1]:443", "ftp://a": "", "//a": "",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		o, err := New(u, Config{})
		switch {
		case addr == "" && err == nil, addr != "" && (err != nil || o.addr != addr || o.Name() != u.Host):
			t.Errorf("%s: %+v, %v", in, o, err)
		}
	}
}

func TestProbes(t *testing.T) {
	status := 200
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.Path != "/healthz" || r.Header.Get("User-Agent") != "probe" || strings.Contains(r.Host, ".") == strings.Contains(r.Host, "127.0.0.1") && r.Host != "shop.example" {
			t.Errorf("asked %s %s of %q: %v", r.Method, r.URL, r.Host, r.Header)
		}
		w.WriteHeader(status)
		io.WriteString(w, strings.Repeat("x", 2*maxProbe))
	}
	target, _ := message.ParseTarget("/healthz")
	fields := message.Fields{{Name: "user-agent", Value: "probe"}}
	plain := httptest.NewServer(http.HandlerFunc(h))
	defer plain.Close()
	one, cfg1 := secured(t, h, nil)
	two, cfg2 := secured(t, h, func(s *httptest.Server) { s.EnableHTTP2 = true })
	clear := cleartext(t, h)
	for _, c := range []struct {
		url string
		cfg Config
	}{{plain.URL, quick}, {one.URL, cfg1}, {two.URL, cfg2}, {clear, quick}} {
		full := c.cfg
		full.MaxConnections = 1
		o := originOf(t, c.url, full)
		o.inFlight.Store(1) // a busy origin is probed all the same
		for _, status = range []int{200, 503} {
			got, err := o.Probe(t.Context(), "GET", target, "shop.example", fields)
			if got != status || err != nil {
				t.Errorf("%s: got %d, %v", c.url, got, err)
			}
		}
		raw, err := net.Dial("tcp", o.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.ProbeOn(t.Context(), raw, "GET", target, "shop.example", fields); got != 503 || err != nil {
			t.Errorf("%s, on a connection: got %d, %v", c.url, got, err)
		}
		if _, err := raw.Write([]byte("x")); err == nil {
			t.Errorf("%s: the probe's connection is still open", c.url)
		}
		if o.inFlight.Load() != 1 || len(o.pool.idle) != 0 {
			t.Errorf("%s: %d in flight, %d idle", c.url, o.inFlight.Load(), len(o.pool.idle))
		}
		if _, err := o.Probe(t.Context(), "GET", target, "a b", nil); err == nil {
			t.Errorf("%s: a probe of a host that is none", c.url)
		}
	}
}

// Without the alert anybody on the way may have ended the connection (RFC 9112 §9.8).
func TestABodyThatEndsWithTheConnectionNeedsTheAlertOfTLS(t *testing.T) {
	s, cfg := secured(t, echoProtocol, nil)
	for _, c := range []struct {
		head   string
		notify bool
		whole  bool
	}{
		{"", true, true},
		{"", false, false},
		{"content-length: 4\r\n", false, true},
	} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer l.Close()
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.ReadAtLeast(conn, make([]byte, 4096), 1)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+c.head+"\r\nsome")
			if !c.notify {
				conn.(*tls.Conn).NetConn().Close()
			}
			conn.Close()
		}()
		cfg.ServerName = "example.com"
		_, body, err := fetch(t.Context(), originOf(t, "https://"+l.Addr().String(), cfg), &Attempt{Request: get("/")})
		if body != "some" {
			t.Errorf("%+v: got %q", c, body)
		}
		if c.whole && err != nil {
			t.Errorf("%+v: %v", c, err)
		} else if !c.whole {
			want(t, "no alert", err, message.BlameOrigin, 502, "response body cut", false)
		}
	}
}
