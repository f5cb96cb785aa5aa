package front

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"
	"golang.org/x/crypto/ocsp"
)

// authority signs certificates and their status.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue writes a certificate with its chain, and its key, to the files of c.
func (a *authority) issue(t *testing.T, c CertificateConfig, serial int64, names ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	writeFile(t, c.CertFile, chain)
	writeFile(t, c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// status is a signed statement on leaf, good for a day unless change says otherwise.
func (a *authority) status(t *testing.T, leaf *x509.Certificate, change func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
	if change != nil {
		change(&r)
	}
	der, err := ocsp.CreateResponse(a.cert, a.cert, r, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pairIn(dir, base string) CertificateConfig {
	at := func(end string) string { return filepath.Join(dir, base+end) }
	return CertificateConfig{CertFile: at(".pem"), KeyFile: at(".key"), OCSPFile: at(".ocsp")}
}

// loaded loads the pairs with a log that can be read.
func loaded(t *testing.T, log *bytes.Buffer, pairs ...CertificateConfig) (*certificates, *metrics.Set) {
	t.Helper()
	set := metrics.NewSet()
	s, err := loadCertificates(TLSConfig{Certificates: pairs}, time.Now(), slog.New(slog.NewTextHandler(log, nil)), set)
	if err != nil {
		t.Fatal(err)
	}
	return s, set
}

// serves is the certificate that a client gets for name.
func (s *certificates) serves(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	c, err := s.get(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedVersions: []uint16{tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAChangedCertificateIsServed(t *testing.T) {
	var log bytes.Buffer
	a, dir := newAuthority(t), t.TempDir()
	first, second := pairIn(dir, "first"), pairIn(dir, "second")
	a.issue(t, first, 10, "first.test")
	a.issue(t, second, 20, "second.test", "*.old.test")
	s, set := loaded(t, &log, first, second)
	before := s.current.Load()
	s.look(time.Now())
	if s.current.Load() != before {
		t.Fatal("published anew though nothing has changed")
	}
	leaf := a.issue(t, second, 21, "second.test", "new.test")
	s.look(time.Now())
	if got := s.serves(t, "new.test").Leaf.SerialNumber.Int64(); got != 21 {
		t.Errorf("new.test: certificate %d, want 21", got)
	}
	if got := s.serves(t, "a.old.test").Leaf.SerialNumber.Int64(); got != 10 {
		t.Errorf("a name that is gone: certificate %d, want the first", got)
	}
	if got := set.GetOrCreateCounter(`nearcast_tls_reloads_total{result="loaded"}`).Get(); got != 1 {
		t.Errorf("%d reloads counted", got)
	}
	if got := s.pairs[1].notAfter.Load(); got != leaf.NotAfter.Unix() {
		t.Errorf("the end is given as %d, want %d", got, leaf.NotAfter.Unix())
	}
	if !strings.Contains(log.String(), "a changed certificate is served") {
		t.Errorf("log: %s", &log)
	}
}

// TestNeverHalfAPair: between the writes of the two files, and with whatever is wrong with them, the pair read before is served.
func TestNeverHalfAPair(t *testing.T) {
	var log bytes.Buffer
	a, dir := newAuthority(t), t.TempDir()
	c, next := pairIn(dir, "site"), pairIn(dir, "next")
	a.issue(t, c, 10, "site.test")
	a.issue(t, next, 11, "site.test")
	s, set := loaded(t, &log, c)
	failed := set.GetOrCreateCounter(`nearcast_tls_reloads_total{result="failed"}`)
	fails := func(what, said string, count uint64) {
		t.Helper()
		log.Reset()
		s.look(time.Now())
		if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 10 {
			t.Fatalf("%s: certificate %d is served", what, got)
		}
		if failed.Get() != count || !strings.Contains(log.String(), said) {
			t.Errorf("%s: %d failures, log: %s", what, failed.Get(), &log)
		}
		log.Reset()
		s.look(time.Now())
		if failed.Get() != count || log.Len() > 0 {
			t.Errorf("%s: said again: %s", what, &log)
		}
	}
	copyFile(t, next.CertFile, c.CertFile)
	fails("the certificate alone is new", "does not belong to", 1)
	writeFile(t, c.CertFile, []byte("half a fi"))
	fails("junk", "holds no PEM block", 2)
	if err := os.Remove(c.CertFile); err != nil {
		t.Fatal(err)
	}
	fails("gone", "does not exist", 3)
	copyFile(t, next.CertFile, c.CertFile)
	copyFile(t, next.KeyFile, c.KeyFile)
	s.look(time.Now())
	if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 11 {
		t.Errorf("both are new: certificate %d is served", got)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, data)
}

// TestASwappedLinkIsAChange: a tree of files is often replaced by turning a symbolic link, size and time alike.
func TestASwappedLinkIsAChange(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	when := time.Now().Add(-time.Hour)
	for _, name := range []string{"old", "new"} {
		writeFile(t, at(name), []byte(name))
		if err := os.Chtimes(at(name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("old", at("link")); err != nil {
		t.Fatal(err)
	}
	before := stateOf(at("link"))
	if err := os.Remove(at("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("new", at("link")); err != nil {
		t.Fatal(err)
	}
	if stateOf(at("link")) == before {
		t.Error("no change was seen")
	}
}

func TestFilesAreLookedAtEveryTwoSeconds(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	c := pairIn(dir, "site")
	a.issue(t, c, 10, "site.test")
	var log bytes.Buffer
	s, _ := loaded(t, &log, c)
	a.issue(t, c, 11, "site.test")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stop := make(chan struct{})
		ended := make(chan struct{}, 2)
		go func() { s.watch(ctx, nil); ended <- struct{}{} }()
		go func() { s.watch(context.Background(), stop); ended <- struct{}{} }()
		time.Sleep(reloadEvery - time.Millisecond)
		synctest.Wait()
		if got := s.serves(t, "site.test").Leaf.SerialNumber.Int64(); got != 10 {
			t.Errorf("too early: certificate %d", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		// The time of this bubble is long before the certificate's: the pair is refused, which is what shows that it was looked at.
		if !strings.Contains(log.String(), "is not valid before") {
			t.Errorf("log: %s", &log)
		}
		cancel()
		close(stop)
		<-ended
		<-ended
	})
}

func TestOCSPStaple(t *testing.T) {
	a, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	c := pairIn(dir, "site")
	leaf := a.issue(t, c, 10, "site.test")
	now := time.Now()
	stranger := *leaf
	stranger.SerialNumber = big.NewInt(99)
	tests := []struct {
		name string
		der  []byte
		said string // in the log; "" when it is stapled
	}{
		{"good", a.status(t, leaf, nil), ""},
		{"junk", []byte("junk"), "not this certificate's status"},
		{"another certificate's", a.status(t, &stranger, nil), "not this certificate's status"},
		{"signed by another", other.status(t, leaf, nil), "not this certificate's status"},
		{"revoked", a.status(t, leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }), "revoked"},
		{"unknown", a.status(t, leaf, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), "not known"},
		{"expired", a.status(t, leaf, func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Second) }), "expired"},
		{"endless", a.status(t, leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), "when the next one is due"},
		{"of tomorrow", a.status(t, leaf, func(r *ocsp.Response) { r.ThisUpdate = now.Add(time.Hour) }), "not valid before"},
		{"a little ahead", a.status(t, leaf, func(r *ocsp.Response) { r.ThisUpdate = now.Add(time.Minute) }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			writeFile(t, c.OCSPFile, tt.der)
			s, _ := loaded(t, &log, c)
			stapled := s.serves(t, "site.test").OCSPStaple
			if tt.said == "" && !bytes.Equal(stapled, tt.der) || tt.said != "" && stapled != nil {
				t.Errorf("stapled: %d bytes", len(stapled))
			}
			if tt.said != "" && !strings.Contains(log.String(), tt.said) {
				t.Errorf("log: %s", &log)
			}
			if s.pairs[0].stapled.Load() != (tt.said == "") {
				t.Error("the metric says the contrary")
			}
		})
	}
}

func TestOCSPFollowsItsFileAndTheTime(t *testing.T) {
	var log bytes.Buffer
	a, dir := newAuthority(t), t.TempDir()
	c := pairIn(dir, "site")
	leaf := a.issue(t, c, 10, "site.test")
	s, _ := loaded(t, &log, c)
	if s.serves(t, "site.test").OCSPStaple != nil {
		t.Fatal("stapled without a file")
	}
	if !strings.Contains(log.String(), "no OCSP response") {
		t.Errorf("log: %s", &log)
	}
	writeFile(t, c.OCSPFile, a.status(t, leaf, nil))
	s.look(time.Now())
	if s.serves(t, "site.test").OCSPStaple == nil {
		t.Error("the file that came is not stapled")
	}
	s.look(time.Now().Add(25 * time.Hour))
	if s.serves(t, "site.test").OCSPStaple != nil {
		t.Error("stapled beyond its end")
	}
	log.Reset()
	s.look(time.Now().Add(26 * time.Hour))
	if log.Len() > 0 {
		t.Errorf("said again: %s", &log)
	}
	writeFile(t, c.OCSPFile, a.status(t, leaf, func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(48 * time.Hour) }))
	s.look(time.Now().Add(26 * time.Hour))
	if s.serves(t, "site.test").OCSPStaple == nil {
		t.Error("the newer one is not stapled")
	}
	a.issue(t, c, 11, "site.test")
	s.look(time.Now())
	if got := s.serves(t, "site.test"); got.OCSPStaple != nil || got.Leaf.SerialNumber.Int64() != 11 {
		t.Errorf("the old certificate's status is stapled to certificate %d", got.Leaf.SerialNumber)
	}
}

func TestASelfSignedCertificateHasNoStatus(t *testing.T) {
	var log bytes.Buffer
	a := newAuthority(t)
	c := writePair(t, t.TempDir(), "self", time.Now().Add(24*time.Hour), "site.test")
	c.OCSPFile = c.CertFile + ".ocsp"
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, c.OCSPFile, a.status(t, pair.Leaf, nil))
	loaded(t, &log, c)
	if !strings.Contains(log.String(), "no issuer to check it against") {
		t.Errorf("log: %s", &log)
	}
}

// TestClientsSeeTheStapleAndResumeAcrossReloads, over TCP and QUIC.
func TestClientsSeeTheStapleAndResumeAcrossReloads(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	c := pairIn(dir, "site")
	leaf := a.issue(t, c, 10, "site.test")
	status := a.status(t, leaf, nil)
	writeFile(t, c.OCSPFile, status)
	e := startListeners(t, text(200, "ok"), testLimits(), []ListenConfig{{Address: "127.0.0.1:0", TLS: true}}, c)
	for name, connect := range map[string]func(*tls.Config) tls.ConnectionState{
		"TCP": func(cfg *tls.Config) tls.ConnectionState { return tcpState(t, e, cfg) }, "QUIC": func(cfg *tls.Config) tls.ConnectionState { return quicState(t, e, cfg) },
	} {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "site.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		first := connect(cfg)
		if first.DidResume || !bytes.Equal(first.OCSPResponse, status) {
			t.Errorf("%s: resumed %t, staple of %d bytes", name, first.DidResume, len(first.OCSPResponse))
		}
		a.issue(t, c, 11, "site.test")
		e.certs.look(time.Now())
		if second := connect(cfg); !second.DidResume {
			t.Errorf("%s: the ticket was worth nothing after a reload", name)
		}
		cfg.ClientSessionCache = nil
		if third := connect(cfg); third.PeerCertificates[0].SerialNumber.Int64() != 11 || len(third.OCSPResponse) > 0 {
			t.Errorf("%s: certificate %d with a staple of %d bytes", name, third.PeerCertificates[0].SerialNumber, len(third.OCSPResponse))
		}
		leaf = a.issue(t, c, 10, "site.test")
		status = a.status(t, leaf, nil)
		writeFile(t, c.OCSPFile, status)
		e.certs.look(time.Now())
	}
}

func tcpState(t *testing.T, e *edge, cfg *tls.Config) tls.ConnectionState {
	t.Helper()
	c, err := tls.Dial("tcp", e.addr(tlsListener), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("GET / HTTP/1.0\r\nHost: site.test\r\n\r\n"))
	_, _ = c.Read(make([]byte, 1024)) // the ticket comes before the response
	return c.ConnectionState()
}

func quicState(t *testing.T, e *edge, cfg *tls.Config) tls.ConnectionState {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h3"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := quic.DialAddr(ctx, e.addr(tlsListener), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0x100, "")
	if s, err := c.AcceptUniStream(ctx); err != nil { // the control stream comes after the ticket
		t.Fatal(err)
	} else if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().TLS
}

// TestEarlyDataWhereItIsWanted: 0-RTT is taken only with tls.early_data.
func TestEarlyDataWhereItIsWanted(t *testing.T) {
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	for _, want := range []bool{false, true} {
		e := startTLS(t, text(200, "ok"), testLimits(), TLSConfig{EarlyData: want, Certificates: []CertificateConfig{pair}},
			[]ListenConfig{{Address: "127.0.0.1:0", TLS: true}})
		cfg := insecure.Clone()
		cache := &waitingCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), came: make(chan struct{}, 10)}
		cfg.NextProtos, cfg.ClientSessionCache = []string{"h3"}, cache
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		first, err := quic.DialAddr(ctx, e.addr(tlsListener), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-cache.came:
		case <-ctx.Done():
			t.Fatal("no ticket came")
		}
		_ = first.CloseWithError(0x100, "")
		c, err := quic.DialAddrEarly(ctx, e.addr(tlsListener), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.HandshakeComplete():
		case <-c.Context().Done():
			t.Fatal(context.Cause(c.Context()))
		}
		if got := c.ConnectionState(); got.Used0RTT != want || !got.TLS.DidResume {
			t.Errorf("early_data %t: used %t, resumed %t", want, got.Used0RTT, got.TLS.DidResume)
		}
		_ = c.CloseWithError(0x100, "")
	}
}

// waitingCache tells when a ticket has come.
type waitingCache struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (c *waitingCache) Put(key string, s *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, s)
	c.came <- struct{}{}
}

func TestPostQuantumKeyExchange(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	cfg := insecure.Clone()
	cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	if got := tcpState(t, e, cfg).CurveID; got != tls.X25519MLKEM768 {
		t.Errorf("TCP: %v", got)
	}
	if got := quicState(t, e, cfg).CurveID; got != tls.X25519MLKEM768 {
		t.Errorf("QUIC: %v", got)
	}
}

func TestMinVersion(t *testing.T) {
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(24*time.Hour), "example.test")
	for version, old := range map[string]bool{"": true, "1.2": true, "1.3": false} {
		s, err := loadCertificates(TLSConfig{MinVersion: version, Certificates: []CertificateConfig{pair}}, time.Now(), testLog(t), metrics.NewSet())
		if err != nil {
			t.Fatal(err)
		}
		client, server := tcpPair(t)
		go func() { _ = tls.Server(server, s.tcp).Handshake(); server.Close() }()
		cfg := insecure.Clone()
		cfg.MaxVersion = tls.VersionTLS12
		if err := tls.Client(client, cfg).Handshake(); (err == nil) != old {
			t.Errorf("%q: TLS 1.2: %v", version, err)
		}
	}
}
