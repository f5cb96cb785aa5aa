package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// corkable is a socket below TLS that counts its writes, and collects them while corked.
type corkable struct {
	net.Conn
	corked bool
	kept   []byte
	writes atomic.Int32
}

func (c *corkable) Cork() { c.corked = true }
func (c *corkable) Uncork() error {
	c.corked = false
	b := c.kept
	c.kept = nil
	_, err := c.Write(b)
	return err
}
func (c *corkable) Write(p []byte) (int, error) {
	if c.corked {
		c.kept = append(c.kept, p...)
		return len(p), nil
	}
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func testCertificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS serves h over TLS on a real socket.
func serveTLS(t *testing.T, s *Server) (client *tls.Conn, below *corkable, done chan struct{}) {
	t.Helper()
	a, b := tcpPair(t)
	below, done = &corkable{Conn: b}, make(chan struct{})
	sc := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	client = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	go func() {
		defer close(done)
		if err := sc.Handshake(); err != nil {
			t.Error(err)
			return
		}
		info := testInfo
		info.TLS, info.Corker = &message.TLS{Version: sc.ConnectionState().Version}, below
		s.ServeConn(t.Context(), sc, info)
	}()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client, below, done
}

func TestAnswersOverTLSShareASystemCall(t *testing.T) {
	client, below, done := serveTLS(t, New(newMemory(), Config{IdleTimeout: time.Minute}))
	br := bufio.NewReader(client)
	for _, c := range []struct {
		paths  []string
		writes int32
	}{{[]string{"/1000"}, 1}, {[]string{"/100000"}, 1}, {[]string{"/1", "/2", "/3"}, 1}, {[]string{"/16384"}, 2}, {[]string{"/1000000"}, 4}} {
		in := ""
		for _, p := range c.paths {
			in += "GET " + p + " HTTP/1.1\r\nHost: a\r\n\r\n"
		}
		before := below.writes.Load()
		_, _ = io.WriteString(client, in)
		for _, p := range c.paths {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(body, content[:len(body)]) || fmt.Sprintf("/%d", len(body)) != p {
				t.Errorf("%s: %d bytes, %v", p, len(body), err)
			}
		}
		if n := below.writes.Load() - before; n > c.writes {
			t.Errorf("%s: %d writes, want %d", c.paths, n, c.writes)
		}
	}
	client.Close()
	<-done
}

// TestTLSOutlivesTheWatch: looking whether the client is still there interrupts a read, which TLS must survive.
func TestTLSOutlivesTheWatch(t *testing.T) {
	h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		time.Sleep(2 * watchAfter)
		if ctx.Err() != nil || r.TLS == nil || r.Scheme != "https" {
			t.Errorf("%v, %+v", ctx.Err(), r)
		}
		tell(ctx, w, r)
	})
	client, _, done := serveTLS(t, New(h, Config{IdleTimeout: time.Minute, HeaderTimeout: time.Minute}))
	br := bufio.NewReader(client)
	big := strings.Repeat("x", 100_000)
	for range 2 {
		for _, in := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + big} {
			_, _ = io.WriteString(client, in)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); strings.HasPrefix(in, "PUT") && !strings.Contains(string(body), big) {
				t.Errorf("got %.100q", body)
			}
		}
	}
	client.Close()
	<-done
}

func TestAnIdleTLSConnectionIsEndedInOrder(t *testing.T) {
	s := New(newMemory(), Config{IdleTimeout: time.Minute})
	client, _, done := serveTLS(t, s)
	_, _ = io.WriteString(client, "GET /5 HTTP/1.1\r\nHost: a\r\n\r\n")
	br := bufio.NewReader(client)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	s.CloseIdle()
	if _, err := br.ReadByte(); err != io.EOF { // not io.ErrUnexpectedEOF
		t.Errorf("the client got %v", err)
	}
	<-done
}
