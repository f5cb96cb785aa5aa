package h3

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestANewcomerIsToldWithItsFirstRequest, after message.Newcomer at the latest, and nobody is waited for who has gone.
func TestANewcomerIsToldWithItsFirstRequest(t *testing.T) {
	for what, c := range map[string]struct {
		happens func(c *conn, gone context.CancelFunc)
		most    time.Duration
		want    time.Duration
	}{
		"no request comes":     {func(*conn, context.CancelFunc) {}, message.Newcomer, message.Newcomer},
		"a request comes":      {func(c *conn, _ context.CancelFunc) { c.mu.Lock(); c.next = 4; c.mu.Unlock() }, message.Newcomer, 300 * time.Millisecond},
		"the client goes":      {func(_ *conn, gone context.CancelFunc) { gone() }, message.Newcomer, 275 * time.Millisecond},
		"it is no newcomer":    {func(*conn, context.CancelFunc) {}, -time.Second, 0},
		"it is one by a blink": {func(*conn, context.CancelFunc) {}, time.Millisecond, time.Millisecond},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, gone := context.WithCancel(t.Context())
				defer gone()
				x := &conn{base: base}
				begin := time.Now()
				after := time.AfterFunc(275*time.Millisecond, func() { c.happens(x, gone) })
				defer after.Stop()
				x.awaitFirst(c.most)
				if took := time.Since(begin); took != c.want {
					t.Errorf("it was waited for %v, want %v", took, c.want)
				}
			})
		})
	}
}

// TestLeaveSparesANewcomer: its first request, sent after Leave, is answered.
func TestLeaveSparesANewcomer(t *testing.T) {
	r := start(t, newHit(3000), Config{})
	qc := r.dial(t)
	eventually(t, "the connection is open", func() bool {
		open := false
		r.each(func(c *conn) { c.mu.Lock(); open = c.open; c.mu.Unlock() })
		return open
	})
	r.Leave()
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET"))
	_ = str.Close()
	buf := make([]byte, 1)
	if _, err := str.Read(buf); err != nil {
		t.Errorf("the first request of a connection that has just been made: %v", err)
	}
	if last := lastGoAway(t, qc, func() {}); last < 4 {
		t.Errorf("the last GOAWAY has %d, want it to tell, and to serve the request", last)
	}
}
