package h2

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// TestInterruptedTunnel: both directions come back, and the client is told that the stream is no more.
func TestInterruptedTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			tun, err := w.SwitchProtocols(nil)
			if err != nil {
				t.Error(err)
				return
			}
			var work sync.WaitGroup
			work.Go(func() {
				if _, err := tun.Read(make([]byte, 1)); !errors.Is(err, errInterrupted) {
					t.Errorf("the reader got %v", err)
				}
			})
			work.Go(func() {
				if _, err := tun.Write(make([]byte, 1<<20)); !errors.Is(err, errInterrupted) { // the client's window is smaller
					t.Errorf("the writer got %v", err)
				}
			})
			time.Sleep(time.Second) // on the fake clock: both wait now
			tun.(message.Interrupter).Interrupt()
			work.Wait()
			if _, err := tun.Write([]byte("x")); err == nil {
				t.Error("a write afterwards")
			}
			if _, err := tun.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a read afterwards: %v", err)
			}
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.noData = true
		x.ask("CONNECT", 1, "/chat", false, ":protocol", "websocket")
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "200")
		want(t, x.next(), func(r *reset) bool { return r.stream == 1 && r.code == http2.ErrCodeCancel }, "a reset")
		x.Close()
		<-x.done
	})
}

// TestInterruptedBody: who reads a body that nobody sends comes back, and the answer can still be given.
func TestInterruptedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			done := make(chan error, 1)
			go func() {
				_, err := r.Body.Read(make([]byte, 1))
				done <- err
			}()
			time.Sleep(time.Second) // on the fake clock: both wait now
			r.Body.(message.Interrupter).Interrupt()
			if err := <-done; !errors.Is(err, errInterrupted) {
				t.Errorf("the reader got %v", err)
			}
			ok(ctx, w, r)
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.ask("POST", 1, "/", false)
		want(t, x.next(), func(r *response) bool { return r.status == "200" && r.ended }, "the answer")
		x.Close()
		<-x.done
	})
}
