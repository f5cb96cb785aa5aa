package proxy

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secureOrigin is an https origin, and the file of who vouches for it.
func secureOrigin(t *testing.T, h http.HandlerFunc) (url, caFile string) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, caFile
}

func TestAnHTTPSOriginProvesWhoItIs(t *testing.T) {
	url, ca := secureOrigin(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto+" "+r.TLS.ServerName) })
	for _, c := range []struct {
		why, ca, name string
		status        int
		body, error   string
	}{
		{"by its CA, and the name that is asked for", ca, "example.com", 200, "HTTP/2.0 example.com", ""},
		{"by its CA, and the host of its URL", ca, "", 200, "HTTP/2.0 ", ""},
		{"the system does not know its CA", "", "example.com", 502, "502 Bad Gateway\n", "tls_protocol_error"},
		{"another name", ca, "other.example", 502, "502 Bad Gateway\n", "tls_protocol_error"},
	} {
		e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Upstream.CAFile, s.Upstream.ServerName = c.ca, c.name })
		got := e.get("/")
		if got.status != c.status || got.body.String() != c.body || !strings.Contains(got.fields.Get("proxy-status"), c.error) {
			t.Errorf("%s: %d %q %v", c.why, got.status, got.body.String(), got.fields)
		}
		_, err := e.Targets()[0].Probe(t.Context())
		if (err == nil) != (c.status == 200) {
			t.Errorf("%s: probed: %v", c.why, err)
		}
	}
}

func TestProbesGoTheWayOfRequests(t *testing.T) {
	asked := make(chan string, 1)
	h := func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Proto + " " + r.Method + " " + r.Host + r.RequestURI
		if r.URL.Path != "/healthz" {
			w.WriteHeader(500)
		}
	}
	secure, ca := secureOrigin(t, h)
	for _, o := range []struct{ url, proto string }{{originServer(t, h), "HTTP/1.1"}, {h2cOrigin(t, h), "HTTP/2.0"}, {secure, "HTTP/2.0"}} {
		for path, healthy := range map[string]bool{"/healthz?deep=1": true, "/": false} {
			e := newEdge(t, map[string][]string{"fra": {o.url}}, func(_ *Options, s *ServiceConfig) { s.Health.Path, s.Upstream.CAFile = path, ca })
			rtt, err := e.Targets()[0].Probe(t.Context())
			if got, want := <-asked, o.proto+" GET shop.example"+path; got != want || (err == nil) != healthy || rtt <= 0 {
				t.Errorf("%s: asked %q, want %q: %v, %v", o.url, got, want, rtt, err)
			}
		}
	}
}

func TestACAFileMustHaveACertificate(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	os.WriteFile(empty, []byte("nothing"), 0o600)
	for _, file := range []string{empty, empty + "x"} {
		var svc ServiceConfig
		svc.SetDefaults()
		svc.Hosts, svc.Origins, svc.Upstream.CAFile = []string{"a"}, map[string][]string{"fra": {"https://x"}}, file
		if _, err := New(Options{Services: map[string]ServiceConfig{"shop": svc}}); err == nil || !strings.Contains(err.Error(), "service shop: upstream.ca_file: ") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestWhatBelongsToAConnectionStaysBehind(t *testing.T) {
	got := make(chan http.Header, 1)
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header })}}, nil)
	e.serve(request("GET", "/", "connection", "close, X-Hop", "keep-alive", "1", "x-hop", "1", "proxy-connection", "x", "transfer-encoding", "chunked",
		"upgrade", "h2c", "http2-settings", "x", "te", "gzip", "trailer", "x", "host", "evil", "content-length", "9", "expect", "100-continue", "x-real_ip", "1.2.3.4", "x_forwarded_for", "1.2.3.4", "x-stays", "1"))
	h := <-got
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "Cdn-Loop", "X-Stays"} {
		if len(h.Values(name)) != 1 {
			t.Errorf("%s: %q", name, h.Values(name))
		}
		h.Del(name)
	}
	if len(h) != 0 {
		t.Errorf("the origin got %v", h)
	}
}
