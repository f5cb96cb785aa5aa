package h2

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestATunnelWhoseClientHasNothingToSay: END_STREAM comes with the request.
func TestATunnelWhoseClientHasNothingToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
			tun, err := w.SwitchProtocols(nil)
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := tun.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("read %d, %v", n, err)
			}
			_, _ = tun.Write([]byte("bye"))
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.ask("CONNECT", 1, "/chat", true, ":protocol", "websocket")
		if got := x.transcript(); got != "H200|D3|D0 end" {
			t.Errorf("got %s", got)
		}
		x.Close()
		<-x.done
	})
}

// TestInterrupt ends what waits for the client, and the connection goes on.
func TestInterrupt(t *testing.T) {
	interrupt := func(v any) { v.(message.Interrupter).Interrupt() }
	tests := map[string]struct {
		do     func(w message.ResponseWriter, r *message.Request) error
		tunnel bool
		want   string
	}{
		"a read of a body": {do: func(w message.ResponseWriter, r *message.Request) error {
			time.AfterFunc(time.Second, func() { interrupt(r.Body) })
			_, err := r.Body.Read(make([]byte, 1))
			_ = w.WriteHeader(503, nil, 0)
			return err
		}, want: "H503 content-length=0 end|R0"},
		"a read of a body later on": {do: func(w message.ResponseWriter, r *message.Request) error {
			interrupt(r.Body)
			_, err := r.Body.Read(make([]byte, 1))
			_ = w.WriteHeader(503, nil, 0)
			return err
		}, want: "H503 content-length=0 end|R0"},
		"a read of a tunnel": {do: func(w message.ResponseWriter, _ *message.Request) error {
			tun, _ := w.SwitchProtocols(nil)
			time.AfterFunc(time.Second, func() { interrupt(tun) })
			_, err := tun.Read(make([]byte, 1))
			return err
		}, tunnel: true, want: "H200|D0 end|R0"},
		"a write to a tunnel": {do: func(w message.ResponseWriter, _ *message.Request) error {
			tun, _ := w.SwitchProtocols(nil)
			time.AfterFunc(time.Second, func() { interrupt(tun) })
			p := bytes.Repeat([]byte("x"), 100_000) // more than the window
			_, err := tun.Write(p)
			clear(p)
			return err
		}, tunnel: true, want: "H200|D16384|D16384|D16384|D16383|R8"},
		"a write to a tunnel later on": {do: func(w message.ResponseWriter, _ *message.Request) error {
			tun, _ := w.SwitchProtocols(nil)
			interrupt(tun)
			_, err := tun.Write([]byte("x"))
			return err
		}, tunnel: true, want: "H200|D0 end|R0"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fails := make(chan error, 1)
				h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
					if r.Target.Path == "/next" {
						ok(ctx, w, r)
						return
					}
					fails <- tt.do(w, r)
				})
				x := serve(t, t.Context(), New(h, Config{IdleTimeout: time.Hour, Pace: message.Pace{Grace: time.Hour}}))
				began := time.Now()
				if tt.tunnel {
					x.ask("CONNECT", 1, "/", false, ":protocol", "websocket")
				} else {
					x.ask("POST", 1, "/", false)
				}
				if err := <-fails; err == nil || err == io.EOF || time.Since(began) > time.Minute {
					t.Errorf("it ended with %v after %v", err, time.Since(began))
				}
				if got := x.transcript(); got != tt.want {
					t.Errorf("the client saw %s, want %s", got, tt.want)
				}
				x.request(3, "/next", true)
				want(t, x.next(), func(r *response) bool { return r.status == "200" }, "the next response")
				x.Close()
				<-x.done
			})
		})
	}
}
