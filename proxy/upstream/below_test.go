package upstream

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// trailer is a connection that appends some bytes to what is written once it is told to.
type trailer struct {
	net.Conn
	tail atomic.Pointer[string]
}

func (c *trailer) Write(p []byte) (int, error) {
	if tail := c.tail.Load(); tail != nil {
		if _, err := c.Conn.Write(append(p[:len(p):len(p)], *tail...)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestTheBeginningOfARecordIsNoticed: it has been read together with the response, so that the socket itself is quiet.
func TestTheBeginningOfARecordIsNoticed(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	for tail, alive := range map[string]bool{"": true, "\x17": false, "\x17\x03\x03\x00\x20": false, "\x17\x03\x03\x00\x20xyz": false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			below := &trailer{Conn: raw}
			c := tls.Server(below, &tls.Config{Certificates: s.TLS.Certificates})
			c.Read(make([]byte, 4096))
			below.tail.Store(&tail)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}()
		_, cfg := secured(t, echoProtocol, nil)
		cfg.Roots.AddCert(s.Certificate())
		cfg.ServerName = "example.com"
		o := originOf(t, "https://"+l.Addr().String(), cfg)
		if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
			t.Fatal(err)
		}
		if got := o.pool.idle[0].alive(); got != alive {
			t.Errorf("after %q: alive %v", tail, got)
		}
	}
}
