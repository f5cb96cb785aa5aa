package bench

import (
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
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// certificate makes a self-signed certificate for 127.0.0.1 with the given common name, and the configuration that trusts it.
func certificate(t *testing.T, name string) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
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

// serve answers HTTP/1.1, HTTP/2 and HTTP/3 with h on one port and returns its https URL.
func serve(t *testing.T, conf *tls.Config, h http.Handler) string {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Skipf("the UDP port of the same number is taken: %v", err)
	}
	s := &http.Server{Handler: h, TLSConfig: conf.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
	s3 := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(conf.Clone())}
	go s.ServeTLS(tcp, "", "")
	go s3.Serve(udp)
	t.Cleanup(func() { s.Close(); s3.Close(); udp.Close() })
	return "https://" + tcp.Addr().String() + "/"
}

// load is a quick run's options: 40 requests in 0.2 s.
func load(url string, p Protocol, client *tls.Config) Options {
	return Options{URL: url, Protocol: p, Rate: 200, Duration: 200 * time.Millisecond, Timeout: 20 * time.Second, TLS: client}
}

func run1(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	return r
}
