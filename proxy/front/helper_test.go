package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/proxy/message"
)

// patience is how long a test waits for what must happen; only a failing test waits as long.
const patience = 30 * time.Second

// writePair writes a certificate and its key for names, valid from -1h until notAfter.
func writePair(t testing.TB, dir, base string, notAfter time.Time, names ...string) CertificateConfig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: notAfter.Add(-24 * 365 * time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := CertificateConfig{CertFile: filepath.Join(dir, base+".pem"), KeyFile: filepath.Join(dir, base+".key")}
	writeFile(t, c.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return c
}

// keyPair is a certificate for example.test.
func keyPair(t testing.TB) tls.Certificate {
	t.Helper()
	c := writePair(t, t.TempDir(), "pair", time.Now().Add(24*time.Hour), "example.test")
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// edge is a front that serves on loopback: the first listener is TLS with HTTP/3, the second plain.
type edge struct {
	*Front
	t      *testing.T
	set    *metrics.Set
	cancel context.CancelFunc
	ended  chan error
}

const (
	tlsListener   = 0
	plainListener = 1
)

func testLimits() LimitsConfig {
	var l LimitsConfig
	l.SetDefaults()
	return l
}

// startEdge opens and runs an edge; the test's end closes it and looks for goroutines left behind.
func startEdge(t *testing.T, h message.Handler, limits LimitsConfig) *edge {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() { noLeak(t, before) })
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	return startListeners(t, h, limits, []ListenConfig{
		{Address: "127.0.0.1:0", TLS: true}, {Address: "127.0.0.1:0"}}, pair)
}

func startListeners(t *testing.T, h message.Handler, limits LimitsConfig, cfg []ListenConfig, pairs ...CertificateConfig) *edge {
	t.Helper()
	return startTLS(t, h, limits, TLSConfig{Certificates: pairs}, cfg)
}

func startTLS(t *testing.T, h message.Handler, limits LimitsConfig, tlsCfg TLSConfig, cfg []ListenConfig) *edge {
	t.Helper()
	return startInFleet(t, Fleet{}, h, limits, tlsCfg, cfg)
}

func startInFleet(t *testing.T, fleet Fleet, h message.Handler, limits LimitsConfig, tlsCfg TLSConfig, cfg []ListenConfig) *edge {
	t.Helper()
	set := metrics.NewSet()
	f, err := OpenInFleet(fleet, cfg, tlsCfg, limits, testLog(t), set)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &edge{Front: f, t: t, set: set, cancel: cancel, ended: make(chan error, 1)}
	go func() { e.ended <- f.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-e.ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return after its context ended")
		}
	})
	return e
}

// testLog shows errors only when the test fails.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testWriter{t: t}, &slog.HandlerOptions{Level: slog.LevelError + 1}))
}

type testWriter struct {
	mu sync.Mutex
	t  *testing.T
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (e *edge) addr(i int) string { return e.tcp[i].info.Address.String() }

// metric returns the lines of the metric that begin with name.
func (e *edge) metric(name string) string {
	var b strings.Builder
	e.set.WritePrometheus(&b)
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, name) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, "\n")
}

// client is an HTTP client of one protocol.
type client struct {
	name  string
	proto message.Protocol
	url   string // scheme and authority
	rt    http.RoundTripper
	close func()
}

var insecure = &tls.Config{InsecureSkipVerify: true, ServerName: "example.test"}

func tlsClient(c net.Conn) *tls.Conn { return tls.Client(c, insecure.Clone()) }

// clients returns one client of each protocol and way to it.
func (e *edge) clients() []*client {
	return []*client{e.h1(), e.h1TLS(), e.h2(), e.h2c(), e.h3()}
}

func (e *edge) h1() *client {
	tr := &http.Transport{}
	return &client{"h1", message.HTTP1, "http://" + e.addr(plainListener), tr, tr.CloseIdleConnections}
}

func (e *edge) h1TLS() *client {
	tr := &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: protocols((*http.Protocols).SetHTTP1)}
	return &client{"h1 over TLS", message.HTTP1, "https://" + e.addr(tlsListener), tr, tr.CloseIdleConnections}
}

func (e *edge) h2() *client {
	tr := &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: protocols((*http.Protocols).SetHTTP2)}
	return &client{"h2", message.HTTP2, "https://" + e.addr(tlsListener), tr, tr.CloseIdleConnections}
}

func (e *edge) h2c() *client {
	tr := &http.Transport{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)}
	return &client{"h2c", message.HTTP2, "http://" + e.addr(plainListener), tr, tr.CloseIdleConnections}
}

func (e *edge) h3() *client {
	tr := &http3.Transport{TLSClientConfig: insecure.Clone(), QUICConfig: &quic.Config{MaxIdleTimeout: patience}}
	return &client{"h3", message.HTTP3, "https://" + e.addr(tlsListener), tr, func() { tr.Close() }}
}

func protocols(set func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	set(p, true)
	return p
}

// do sends a request and fails the test when there is no response.
func (c *client) do(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	resp, err := c.rt.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", c.name, r.Method, r.URL, err)
	}
	return resp
}

func (c *client) get(t *testing.T, target string) (*http.Response, string) {
	t.Helper()
	return c.read(t, c.do(t, c.request(t, "GET", target, nil)))
}

func (c *client) read(t *testing.T, resp *http.Response) (*http.Response, string) {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatalf("%s: reading the response: %v", c.name, err)
	}
	return resp, string(body)
}

func (c *client) request(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, c.url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// each runs a subtest for each protocol against one edge.
func each(t *testing.T, h message.Handler, test func(t *testing.T, e *edge, c *client)) {
	e := startEdge(t, h, testLimits())
	for _, c := range e.clients() {
		t.Run(c.name, func(t *testing.T) {
			defer c.close()
			test(t, e, c)
		})
	}
}

// eventually polls until ok, and fails with what after a long while.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// goroutines counts the goroutines that are ours or a library's of ours; the test framework's come and go.
func goroutines() int {
	return strings.Count(stacks(), "\ngoroutine ") + 1
}

func stacks() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// noLeak fails when more goroutines stay than there were.
func noLeak(t *testing.T, before int) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(patience); goroutines() > before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("goroutines: %d before, %d after\n%s", before, goroutines(), stacks())
			return
		}
	}
}

// handlerFunc is a function that is a message.Handler.
type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

func text(status int, body string) message.Handler {
	return handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(status, message.Fields{{Name: "content-type", Value: "text/plain"}}, int64(len(body)))
		_, _ = io.WriteString(w, body)
	})
}

func dialPlain(t *testing.T, e *edge) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", e.addr(plainListener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}
