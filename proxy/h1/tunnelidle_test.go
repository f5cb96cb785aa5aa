package h1

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestAnIdleTunnelEndsWhenNobodyWaitsForTheClient is what remains of a client that has gone: its end was read, and the origin says nothing.
func TestAnIdleTunnelEndsWhenNobodyWaitsForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
			begin := time.Now()
			if _, err := w.SwitchProtocols(nil); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
				t.Error("it lasts")
			}
			var e *message.Error
			if !errors.As(message.Cause(ctx), &e) || e.Reason != "tunnel idle" || time.Since(begin) != time.Minute {
				t.Errorf("after %v: %v", time.Since(begin), message.Cause(ctx))
			}
		})
		x := serve(t.Context(), New(h, Config{IdleTimeout: time.Minute}))
		_, _ = io.WriteString(x, upgrade)
		_, _ = io.Copy(io.Discard, x.br)
		<-x.done
	})
}
