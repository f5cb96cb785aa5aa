package h2

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestABodyIsStillBeingReadWhenTheHandlerReturns: an origin that answers early leaves behind the goroutine that was sending it the
// request's body. It must find the body ended, and touch nothing that is the server's again.
func TestABodyIsStillBeingReadWhenTheHandlerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan error, 1)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Body == nil {
				ok(ctx, w, r)
				return
			}
			go func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("the reader left behind panicked: %v", p)
						read <- nil
					}
				}()
				_, err := r.Body.Read(make([]byte, 10))
				read <- err
			}()
			time.Sleep(time.Second) // by then the other one reads
			ok(ctx, w, r)
		})
		x := serve(t, t.Context(), New(h, Config{IdleTimeout: time.Minute}))
		x.request(1, "/", false)
		want(t, x.next(), func(r *response) bool { return r.stream == 1 && r.status == "200" }, "the early answer")
		select {
		case err := <-read:
			if err == nil {
				t.Error("the read ended without an error")
			}
		case <-time.After(time.Hour):
			t.Error("the read never ended")
		}
		x.Close()
		<-x.done
	})
}
