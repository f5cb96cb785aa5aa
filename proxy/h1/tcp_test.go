package h1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// wrapped is a TCP connection in a type of its own, as one is of which the first bytes were read before.
type wrapped struct{ *net.TCPConn }

// TestLargeAnswersOverTCP: several buffers go out in one call there, from the right places and in the right order.
func TestLargeAnswersOverTCP(t *testing.T) {
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"plain": func(c *net.TCPConn) net.Conn { return c }, "wrapped": func(c *net.TCPConn) net.Conn { return &wrapped{c} },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.piece = 10_000
			m.serve = func(_ context.Context, w message.ResponseWriter, r *message.Request) {
				length := int64(-1)
				if r.Target.Path == "/length" {
					length = 300_010
				}
				_ = w.WriteHeader(200, nil, length)
				_, _ = w.Write(content[:5])
				_, _ = w.Write(content[5:200_000])
				_, _ = w.Write(content[200_000:200_010])
				_, _ = w.Write(content[200_010:300_010])
			}
			client, server := tcpPair(t)
			done := make(chan struct{})
			s := New(m, Config{IdleTimeout: time.Minute, Pace: message.Pace{Grace: time.Minute}})
			c := newConn(t.Context(), s, wrap(server), testInfo)
			if !c.out.vectored {
				t.Fatal("not taken for a socket")
			}
			go func() {
				defer close(done)
				s.ServeConn(t.Context(), wrap(server), testInfo)
			}()
			paths := []string{"/5", "/100000", "/7", "/length", "/2000000", "/chunked", "/20000"}
			go func() {
				_, _ = io.WriteString(client, "GET "+strings.Join(paths, " HTTP/1.1\r\nHost: a\r\n\r\nGET ")+" HTTP/1.1\r\nHost: a\r\n\r\n")
			}()
			br := bufio.NewReader(client)
			for i, want := range []int{5, 100_000, 7, 300_010, 2_000_000, 300_010, 20_000} {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(body, content[:want]) {
					t.Errorf("%s: %d bytes, %v", paths[i], len(body), err)
				}
			}
			client.Close()
			<-done
		})
	}
}
