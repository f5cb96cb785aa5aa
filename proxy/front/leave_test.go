package front

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// TestLeaveEndsTheConnectionsThereAre: clients that stay would go on sending to where the route leads now.
func TestLeaveEndsTheConnectionsThereAre(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	for _, c := range e.clients() {
		c.get(t, "/")
		eventually(t, c.name+": the connection is there", func() bool { return e.open.Load() == 1 })
		e.Leave()
		eventually(t, c.name+": the connection has ended", func() bool { return e.open.Load() == 0 })
		for range 2 {
			if resp, body := c.get(t, "/"); body != "ok" || c.proto == message.HTTP1 && resp.Close {
				t.Errorf("%s: a later connection is served as usual: %q, closes %t", c.name, body, resp.Close)
			}
		}
		c.close()
		eventually(t, c.name+": the client has gone", func() bool { return e.open.Load() == 0 })
	}
}

func TestLeaveLetsTheRequestInFlightEnd(t *testing.T) {
	g := newGate()
	e := startEdge(t, g, testLimits())
	for _, c := range e.clients() {
		answered := make(chan error, 1)
		go func() {
			resp, err := c.rt.RoundTrip(c.request(t, "GET", "/", nil))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			answered <- err
		}()
		<-g.began
		e.Leave()
		g.open <- struct{}{}
		if err := <-answered; err != nil {
			t.Errorf("%s: the response was lost: %v", c.name, err)
		}
		eventually(t, c.name+": the connection has ended", func() bool { return e.open.Load() == 0 })
		c.close()
	}
}

// TestPauseLeavesNewConnectionsUnanswered: neither accepted nor refused, so that their clients try again.
func TestPauseLeavesNewConnectionsUnanswered(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: new connections can only be paused on Linux")
	}
	e := startEdge(t, text(200, "ok"), testLimits())
	kept := e.h2()
	kept.get(t, "/")
	e.Pause()
	kept.get(t, "/")
	if c, err := net.DialTimeout("tcp", e.addr(plainListener), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a new connection was accepted")
	} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("a new connection got %v; silence is what makes a client try again", err)
	}
	for _, c := range []*client{e.h1(), e.h3()} {
		answered := make(chan error, 1)
		go func() {
			resp, err := c.rt.RoundTrip(c.request(t, "GET", "/", nil))
			if err == nil {
				resp.Body.Close()
			}
			answered <- err
		}()
		select {
		case err := <-answered:
			t.Fatalf("%s: a new connection was answered: %v", c.name, err)
		case <-time.After(200 * time.Millisecond):
		}
		e.Resume()
		if err := <-answered; err != nil {
			t.Errorf("%s: when it tried again: %v", c.name, err)
		}
		c.close()
		e.Pause()
	}
	e.Resume()
	e.Resume() // harmless
	kept.close()
}
