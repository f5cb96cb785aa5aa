package h2

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// TestTheBooksBalance: whatever becomes of exchanges, when the last is over no window, buffer or count is held for any of them.
func TestTheBooksBalance(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			h := newHits(30_000)
			h.handlerFunc = func(ctx context.Context, w message.ResponseWriter, q *message.Request) {
				r := rand.New(rand.NewPCG(seed, uint64(len(q.Fields))))
				if q.Body != nil && r.IntN(2) == 0 {
					_, _ = io.CopyN(io.Discard, q.Body, r.Int64N(50_000))
				}
				time.Sleep(time.Duration(r.IntN(3)) * time.Second)
				if r.IntN(4) == 0 {
					w.Abort()
					return
				}
				_ = w.WriteHeader(200, nil, -1)
				_, _ = w.Write(h.body)
			}
			s := New(h, Config{MaxStreams: 8, Pace: message.Pace{Grace: 20 * time.Second, Rate: 1000}, IdleTimeout: time.Hour})
			x := serve(t, t.Context(), s)
			go func() {
				for range x.frames {
				}
			}()
			for i := range uint32(40) {
				id := 1 + 2*i
				path := []string{"/", "/slow", "/short"}[r.IntN(3)]
				end := r.IntN(3) == 0
				x.ask([]string{"GET", "POST"}[r.IntN(2)], id, path, end)
				before := 1 + 2*r.Uint32N(i+1)
				for range r.IntN(4) {
					if end {
						break
					}
					end = r.IntN(3) == 0
					_ = x.fr.WriteDataPadded(id, end, make([]byte, r.IntN(9000)), make([]byte, r.IntN(200)))
				}
				switch r.IntN(5) {
				case 0:
					_ = x.fr.WriteRSTStream(id, http2.ErrCodeCancel)
				case 1:
					_ = x.fr.WriteWindowUpdate(before, maxWindow) // overflows
				case 2:
					_ = x.fr.WriteWindowUpdate(0, 30_000)
					_ = x.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: r.Uint32N(100_000)})
				}
				synctest.Wait()
			}
			time.Sleep(10 * time.Minute) // who has not ended by now was reset
			synctest.Wait()
			for c := range s.conns {
				if c.active != 0 || c.uploads != 0 || c.held != 0 || len(c.sendq) != 0 || c.recvWindow+c.unacked != connWindow || c.in != nil || c.out != nil {
					t.Errorf("seed %d: %d active, %d uploads, %d held, %d queued, %d+%d of the window, in %p, out %p",
						seed, c.active, c.uploads, c.held, len(c.sendq), c.recvWindow, c.unacked, c.in, c.out)
				}
			}
			if len(s.conns) == 0 {
				t.Errorf("seed %d: the connection has gone", seed)
			}
			x.Close()
			<-x.done
		})
	}
}
