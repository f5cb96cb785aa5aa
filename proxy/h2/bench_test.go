package h2

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func testTLS(tb testing.TB) (client, server *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}},
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}, DynamicRecordSizingDisabled: true}
}

// BenchmarkBurst is 32 requests in one write, answered from memory over loopback; ns/op is for one request, client included.
func BenchmarkBurst(b *testing.B) {
	for name, size := range map[string]int{"1k": 1 << 10, "10k": 10 << 10, "100k": 100 << 10} {
		b.Run("plain-"+name, func(b *testing.B) { benchBurst(b, size, false) })
		b.Run("tls-"+name, func(b *testing.B) { benchBurst(b, size, true) })
	}
}

func benchBurst(b *testing.B, size int, overTLS bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	clientTLS, serverTLS := testTLS(b)
	s := New(newHits(size), Config{Pace: message.Pace{Grace: time.Minute, Rate: 1000}, IdleTimeout: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if overTLS {
			c = tls.Server(c, serverTLS)
		}
		s.ServeConn(context.Background(), c, testInfo)
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if overTLS {
		c = tls.Client(c, clientTLS)
	}
	hello := clientHello()
	if _, err := c.Write(hello); err != nil {
		b.Fatal(err)
	}
	const n = 32
	x := newBursts()
	c.Write(x.make(n))
	read := make([]byte, 256<<10)
	var ends endCounter
	answers := func() {
		for ends.n = 0; ends.n < n; {
			m, err := c.Read(read)
			if err != nil {
				b.Fatal(err)
			}
			ends.take(read[:m])
		}
	}
	answers()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for i := 0; b.Loop(); i++ {
		if i%n == 0 {
			b.StopTimer()
			p := x.make(n)
			b.StartTimer()
			c.Write(p)
			answers()
		}
	}
	c.Close()
	<-done
}

// endCounter counts the frames with END_STREAM in what is read piece by piece.
type endCounter struct {
	n    int
	head []byte // of a frame, so far
	skip int    // of its payload
}

func (e *endCounter) take(p []byte) {
	for len(p) > 0 {
		if e.skip > 0 {
			k := min(e.skip, len(p))
			e.skip -= k
			p = p[k:]
			continue
		}
		k := min(headerLength-len(e.head), len(p))
		e.head = append(e.head, p[:k]...)
		p = p[k:]
		if len(e.head) == headerLength {
			f, length := parseHeader(e.head)
			e.head, e.skip = e.head[:0], length
			if f.kind <= frameHeaders && f.has(flagEndStream) {
				e.n++
			}
		}
	}
}
