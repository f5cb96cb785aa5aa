package h1

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestTheFirstHeaderSectionSharesItsTime with what came before on the connection, and the next one does not.
func TestTheFirstHeaderSectionSharesItsTime(t *testing.T) {
	for sent, want := range map[string]time.Duration{
		"":                                     4 * time.Second,
		"GET / HTTP/1.1\r\n":                   4 * time.Second,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET": 10 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			s := New(ok, Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute})
			begin := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.ServeConn(context.Background(), server, message.ConnInfo{Accepted: begin.Add(-6 * time.Second)})
			}()
			go func() { _, _ = io.Copy(io.Discard, client) }()
			if sent != "" {
				_, _ = io.WriteString(client, sent)
			}
			<-done
			if got := time.Since(begin); got < want || got >= want+time.Second {
				t.Errorf("%q: ended after %v, want %v and the time to close", sent, got, want)
			}
			client.Close()
		})
	}
}
