package h2

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestThePrefaceSharesItsTime with what came before on the connection.
func TestThePrefaceSharesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		s := New(handlerFunc(ok), Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute})
		begin := time.Now()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		s.ServeConn(context.Background(), server, message.ConnInfo{Accepted: begin.Add(-6 * time.Second)})
		if got := time.Since(begin); got < 4*time.Second || got >= 6*time.Second {
			t.Errorf("ended after %v, want 4s and the time to close", got)
		}
		client.Close()
	})
}
