package h2

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestAConnectionWithoutStreamsHoldsNoBuffer, whatever was on it before.
func TestAConnectionWithoutStreamsHoldsNoBuffer(t *testing.T) {
	for what, act := range map[string]func(x *session){
		"nothing":                     func(x *session) {},
		"an answer from memory":       func(x *session) { x.request(1, "/", true) },
		"an answer of a handler":      func(x *session) { x.request(1, "/slow", true) },
		"an upload":                   func(x *session) { x.ask("POST", 1, "/slow", false); x.upload(1, 100_000, true) },
		"an upload answered too soon": func(x *session) { x.ask("POST", 1, "/slow", false) },
		"an upload nobody asked for":  func(x *session) { x.ask("POST", 1, "/", false) },
		"an upload that was reset": func(x *session) {
			x.ask("POST", 1, "/slow", false)
			_ = x.fr.WriteRSTStream(1, 8)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHits(1000)
				h.handlerFunc = func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
					time.Sleep(time.Second)
					ok(ctx, w, r)
				}
				s := New(h, Config{IdleTimeout: time.Hour})
				x := serve(t, t.Context(), s)
				act(x)
				time.Sleep(time.Minute)
				synctest.Wait()
				for c := range s.conns {
					if c.in != nil || c.out != nil || c.streams != nil && cap(c.streams) > keepStreams {
						t.Errorf("in %p, out %p, %d streams", c.in, c.out, cap(c.streams))
					}
				}
				if len(s.conns) != 1 {
					t.Error("the connection has gone")
				}
				x.request(3, "/", true)
				x.Close()
				<-x.done
			})
		})
	}
}
