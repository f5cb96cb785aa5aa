package h1

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

func TestLeaveIsToldWithTheResponseInFlight(t *testing.T) {
	for name, when := range map[string]string{"before the request": "before", "between its parts": "during", "after early hints": "hints"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *Server
				h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
					if when == "hints" {
						_ = w.WriteInformational(103, nil)
					}
					if when != "before" {
						s.Leave()
					}
					short(ctx, w, r)
				})
				s = New(h, Config{IdleTimeout: time.Minute})
				x := serve(t.Context(), s)
				if when == "before" {
					synctest.Wait()
					for c := range s.conns {
						c.leaving.Store(true) // as Leave does, and the request comes before CloseIdle
					}
				}
				resp := x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if when == "hints" {
					if resp.StatusCode != 103 || resp.Close {
						t.Errorf("status %d, close: %t", resp.StatusCode, resp.Close)
					}
					var err error
					if resp, err = http.ReadResponse(x.br, nil); err != nil {
						t.Fatal(err)
					}
				}
				if resp.StatusCode != 200 || !resp.Close {
					t.Errorf("status %d, close: %t; the client must be told", resp.StatusCode, resp.Close)
				}
				<-x.done
			})
		})
	}
}

func TestEarlyHintsThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			begin := time.Now()
			_ = w.WriteInformational(103, nil)
			if took := time.Since(begin); took != time.Minute {
				t.Errorf("the client had %v to take it", took)
			}
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{IdleTimeout: time.Minute}))
		_, _ = x.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		select {
		case <-x.done:
		case <-time.After(time.Hour):
			t.Error("a client that takes nothing holds the request")
			x.Close()
			<-x.done
		}
	})
}
