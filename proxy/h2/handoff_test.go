package h2

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
)

// late is a connection of which a write that has the bytes of hold in it returns a second after they are gone.
type late struct {
	net.Conn
	hold []byte
}

func (c *late) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.Contains(p, c.hold) {
		time.Sleep(time.Second)
	}
	return n, err
}

// TestABodyThatComesWhile100IsWritten is not overlooked by the handler that had it sent.
func TestABodyThatComesWhile100IsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			p, _ := io.ReadAll(r.Body)
			got <- string(p)
			ok(ctx, w, r)
		})
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(h, Config{Pace: message.Pace{Grace: time.Hour}}).ServeConn(t.Context(), &late{server, []byte("\x08\x03100")}, testInfo)
		}()
		x := &session{t: t, Conn: client, fr: http2.NewFramer(client, client), frames: make(chan any, 100), pings: make(chan [8]byte, 1), done: done}
		x.enc = hpack.NewEncoder(&x.block)
		x.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		go x.read()
		x.greet()
		x.ask("POST", 1, "/", false, "expect", "100-continue")
		want(t, x.next(), func(r *response) bool { return r.status == "100" }, "100 (Continue)")
		_ = x.fr.WriteData(1, true, []byte("all of it"))
		began := time.Now()
		if p := <-got; p != "all of it" || time.Since(began) > time.Minute {
			t.Errorf("the handler got %q after %v", p, time.Since(began))
		}
		x.Close()
		<-done
	})
}

// TestTheLastWordsAreWaitedFor also when handlers end meanwhile: what the client still sends must be read, or it gets RST and no GOAWAY.
func TestTheLastWordsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
			<-ctx.Done()
			w.Abort()
		})
		x := serve(t, t.Context(), New(h, Config{IdleTimeout: time.Hour}))
		x.request(1, "/", true)
		began := time.Now()
		x.raw(framePushPromise, 0, 1, "")
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeProtocol }, "GOAWAY")
		time.Sleep(lingerTime / 2)
		if err := x.fr.WritePing(false, [8]byte{}); err != nil {
			t.Errorf("what the client sends is not read: %v", err)
		}
		<-x.done
		if took := time.Since(began); took != lingerTime {
			t.Errorf("the connection ended after %v", took)
		}
	})
}
