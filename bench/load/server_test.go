package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// certificate makes a self-signed certificate for 127.0.0.1, and the configuration that trusts it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

// server answers all protocols on one port number, and HTTP/1.1 and h2c without TLS on another.
type server struct {
	https, http string
	client      *tls.Config
	close       func()

	mu    sync.Mutex
	paths map[string]int // how often each path with its query was asked for
	n     int
}

// serve starts a server. Its handler counts what it is asked for before h answers.
func serve(t testing.TB, h http.HandlerFunc) *server {
	t.Helper()
	conf, client := certificate(t)
	s := &server{client: client, paths: make(map[string]int)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.paths[r.URL.RequestURI()]++
		s.n++
		s.mu.Unlock()
		h(w, r)
	})
	secure, plain := listen(t), listen(t)
	udp, err := net.ListenPacket("udp", secure.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	silent := log.New(io.Discard, "", 0)
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s1 := &http.Server{Handler: handler, TLSConfig: conf.Clone(), ErrorLog: silent}
	s2 := &http.Server{Handler: handler, Protocols: both, ErrorLog: silent}
	s3 := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(conf.Clone())}
	var serving sync.WaitGroup
	serving.Go(func() { s1.ServeTLS(secure, "", "") })
	serving.Go(func() { s2.Serve(plain) })
	serving.Go(func() { s3.Serve(udp) })
	s.close = sync.OnceFunc(func() { s1.Close(); s2.Close(); s3.Close(); udp.Close(); serving.Wait() })
	t.Cleanup(s.close)
	s.https, s.http = "https://"+secure.Addr().String(), "http://"+plain.Addr().String()
	return s
}

// serveTLS serves HTTP/1.1 and HTTP/2 with a configuration.
func serveTLS(t testing.TB, conf *tls.Config) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(hello), TLSConfig: conf, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { s.ServeTLS(l, "", "") })
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return "https://" + l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// asked is how often each path was asked for.
func (s *server) asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.paths)
}

// count is how many requests the server has had.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// kinds are all ways to reach the server.
func (s *server) kinds() map[string]Options {
	return map[string]Options{
		"h1":     {URL: s.http, Protocol: HTTP1},
		"h1 TLS": {URL: s.https, Protocol: HTTP1, TLS: s.client},
		"h2c":    {URL: s.http, Protocol: HTTP2, Streams: 4},
		"h2":     {URL: s.https, Protocol: HTTP2, Streams: 4, TLS: s.client},
		"h3":     {URL: s.https, Protocol: HTTP3, Streams: 4, TLS: s.client},
	}
}

// eachKind runs f for every way to reach a server with the given handler.
func eachKind(t *testing.T, h http.HandlerFunc, f func(t *testing.T, s *server, o Options)) {
	for name := range (&server{}).kinds() {
		t.Run(name, func(t *testing.T) {
			s := serve(t, h)
			o := s.kinds()[name]
			o.Connections = 3
			f(t, s, o)
		})
	}
}

func mustRun(t testing.TB, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for class, f := range r.Failures {
		t.Logf("%s %d: %s", class, f.Count, f.Example)
	}
	return r
}
