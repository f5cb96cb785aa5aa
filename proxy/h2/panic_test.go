package h2

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// broken answers with something that panics when it is sent.
type broken struct {
	handlerFunc
	block bool
	done  atomic.Int32
}

func (b *broken) Quick(r *message.Request) *message.Ready {
	if r.Target.Path == "/slow" {
		return nil
	}
	a := &message.Ready{Status: 200, ContentLength: 100, Owner: b, Body: b, BodyLength: 100}
	if b.block {
		a.Block = b
	}
	return a
}

func (b *broken) Done(_ *message.Ready, _ int64, complete bool) {
	if !complete {
		b.done.Add(1)
	}
}

func (b *broken) Next() []byte { panic("on purpose") }

func (b *broken) Encoded(message.Protocol, func([]byte, message.Fields) []byte) []byte {
	panic("on purpose")
}

// TestAnAnswerThatPanics ends its stream, and nothing else; it goes back to its owner.
func TestAnAnswerThatPanics(t *testing.T) {
	for what, block := range map[string]bool{"header section": true, "content": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &broken{handlerFunc: ok, block: block}
				x := serve(t, t.Context(), New(h, Config{}))
				for id := uint32(1); id <= 3; id += 2 {
					x.request(id, "/", id == 1) // at once, and from the queue
					f := x.next()
					if _, is := f.(*response); is && !block {
						f = x.next()
					}
					want(t, f, func(r *reset) bool { return r.stream == id && r.code == http2.ErrCodeInternal }, "a reset")
				}
				if n := h.done.Load(); n != 2 {
					t.Errorf("Done was called %d times", n)
				}
				x.request(5, "/slow", true)
				want(t, x.next(), func(r *response) bool { return r.status == "200" }, "the next response")
				x.Close()
				<-x.done
			})
		})
	}
}
