package h1

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

const (
	early = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n"
	rest  = "GET /not-a-request HTTP/1.1\r\nHost: a\r\n\r\n" // of the body: 40 bytes
)

// short answers with a body of a known length.
var short = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	_ = w.WriteHeader(200, nil, int64(len(r.Target.Path)))
	_, _ = io.WriteString(w, r.Target.Path)
})

func TestAConnectionGoesOnAfterAnEarlyAnswer(t *testing.T) {
	for name, wait := range map[string]time.Duration{"the body with the request": 0, "the body after the answer": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := serve(t.Context(), New(short, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
				if wait == 0 {
					x.roundTrip(t, early+rest)
				} else {
					x.roundTrip(t, early)
					time.Sleep(wait)
					_, _ = io.WriteString(x, rest)
				}
				resp := x.roundTrip(t, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
				if body, _ := io.ReadAll(resp.Body); string(body) != "/next" {
					t.Errorf("the next request was answered with %q", body)
				}
				x.Close()
				<-x.done
			})
		})
	}
}

func TestAnEarlyAnswerOfUnknownLengthWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(ok, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		begin := time.Now()
		if resp := x.roundTrip(t, early); resp.Close || time.Since(begin) > 0 {
			t.Errorf("close: %t, complete after %v", resp.Close, time.Since(begin))
		}
		_, _ = io.WriteString(x, rest)
		x.roundTrip(t, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
		x.Close()
		<-x.done
	})
}

func TestTheRestOfABodyIsNeverARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Target.Path != "/early" {
				t.Errorf("the rest of a body was served as %s %s", r.Method, r.Target)
			}
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: time.Minute, IdleTimeout: time.Minute}))
		x.roundTrip(t, early)
		time.Sleep(20 * time.Second)
		_, _ = io.WriteString(x, rest)
		synctest.Wait()
		if n, _ := io.Copy(io.Discard, x.br); n > 0 {
			t.Errorf("%d bytes came for it", n)
		}
		<-x.done
	})
}

// TestAReadLeftBehindDoesNotTouchTheNextDeadline: the goroutine that was sending a request's body to an origin may come back for more when
// the exchange is over. The connection's deadline is then that of the wait for the next request, and must stay.
func TestAReadLeftBehindDoesNotTouchTheNextDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			body := r.Body
			time.AfterFunc(2*time.Second, func() {
				if _, err := body.Read(make([]byte, 10)); err == nil {
					t.Error("a read after the end of the exchange brought something")
				}
			})
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		x.roundTrip(t, early+rest)
		begin := time.Now()
		_, _ = io.Copy(io.Discard, x.br)
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("an idle connection was kept for %v", took)
		}
		x.Close()
		<-x.done
	})
}

func TestABodyThatStalledIsNotAwaitedForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if _, err := io.ReadAll(r.Body); err == nil || r.Target.Path != "/early" {
				t.Errorf("%s: reading the body: %v", r.Target, err)
			}
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: time.Minute, IdleTimeout: time.Minute}))
		begin := time.Now()
		x.roundTrip(t, early)
		_, _ = io.Copy(io.Discard, x.br)
		if took := time.Since(begin); took != time.Minute+5*time.Second {
			t.Errorf("the connection ended after %v, want the stall and the time for the rest", took)
		}
		<-x.done
	})
}
