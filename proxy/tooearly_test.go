package proxy

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

func TestAnOriginsTooEarly(t *testing.T) {
	for _, c := range []struct {
		why, path string
		hop       bool // a hop before this one took it
		early     bool
		status    int
		told      string
		outcome   string
	}{
		{"sent again, once, when the handshake is complete", "/refused", false, true, 200, "1,", "repeated"},
		{"a second one is the client's", "/always", false, true, 425, "1,", "repeated"},
		{"it is for the hop that took it", "/refused", true, false, 425, "1", "refused"},
		{"and for the client, if that hop waits no less", "/refused", true, true, 425, "1", "refused"},
		{"to a request that was not early", "/always", false, false, 425, "", ""},
	} {
		o, e := newTold(t, nil)
		r := request("GET", c.path)
		if c.hop {
			r.Fields.Add("early-data", "1")
		}
		s := newShaking()
		if c.early {
			inEarlyData(r, s)
		}
		got, done := e.serveAsync(context.Background(), r)
		if c.outcome == "repeated" {
			<-s.waits
			s.finish()
		}
		<-done
		if got.status != c.status || o.requests() != c.told {
			t.Errorf("%s: %d, told %q, want %d, %q", c.why, got.status, o.requests(), c.status, c.told)
		}
		for _, outcome := range []string{"served", "delayed", "refused", "repeated"} {
			want := "0"
			if outcome == c.outcome {
				want = "1"
			}
			if n := e.counted(`nearcast_early_requests_total{service="shop",outcome="` + outcome + `"}`); n != want {
				t.Errorf("%s: %s %s", c.why, n, outcome)
			}
		}
		if n := e.counted(`nearcast_origin_failures_total{service="shop",origin="` + e.table.services[0].origins[0].id.Name + `",reason="other"}`); n != "0" {
			t.Errorf("%s: counted as %s failures", c.why, n)
		}
		e.settle()
		if before := o.count(); c.status == 425 {
			if e.get(c.path); o.count() != before+1 {
				t.Errorf("%s: the 425 was stored", c.why)
			}
		}
	}
}

// TestFollowersDoNotInheritA425: who has joined an early request's fetch is not answered by what that comes to, and does not wait for its handshake.
func TestFollowersDoNotInheritA425(t *testing.T) {
	var early atomic.Int64
	asked, joined := make(chan struct{}), make(chan struct{})
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("Early-Data") != "" {
			early.Add(1)
			close(asked)
			<-joined
			w.WriteHeader(http.StatusTooEarly)
			return
		}
		io.WriteString(w, "x")
	})}}, nil)
	s := newShaking()
	leader, leads := e.serveAsync(context.Background(), inEarlyData(request("GET", "/"), s))
	<-asked
	follower, follows := e.serveAsync(context.Background(), request("GET", "/"))
	close(joined) // whether it has joined by now makes no difference to what it is to get
	<-follows
	if follower.status != 200 || follower.body.String() != "x" {
		t.Errorf("the follower: %d %q", follower.status, follower.body.String())
	}
	<-s.waits
	s.finish()
	<-leads
	if leader.status != 200 || leader.body.String() != "x" || early.Load() != 1 {
		t.Errorf("the leader: %d %q, %d early requests", leader.status, leader.body.String(), early.Load())
	}
}
