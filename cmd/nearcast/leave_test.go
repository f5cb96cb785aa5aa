package main

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"nearcast/bgp"
)

type declared struct {
	sets int
	set  func() // called meanwhile
}

func (d *declared) SetRoutes([]bgp.Route) {
	d.sets++
	if d.set != nil {
		d.set()
	}
}
func (d *declared) Flush(context.Context) error { return nil }
func (d *declared) Renew(time.Time)             {}

func TestOnlyARouteThatMovesAwaySendsClientsOn(t *testing.T) {
	to := &declared{}
	beacon := bgp.Route{Prefix: netip.MustParsePrefix("198.51.100.129/32")}
	r := newRoutes(to, beacon.Prefix)
	some := []bgp.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
	prepended, graceful := []bgp.Route{some[0]}, []bgp.Route{some[0]}
	prepended[0].Prepend, graceful[0].GracefulShutdown = 4, true
	for i, c := range []struct {
		set  []bgp.Route
		want bool
		why  string
	}{
		{nil, false, "nothing was announced yet"},
		{some, false, "an announcement brings clients"},
		{some, false, "the same again"},
		{nil, true, "a withdrawal"},
		{nil, false, "still withdrawn"},
		{some, false, "back"},
		{prepended, true, "another region's route is to win"},
		{some, false, "not any more"},
		{graceful, true, "drained"},
		{some, false, "not any more"},
		{append(some[:1:1], beacon), false, "at full preference"},
		{some, false, "the beacon leads no clients here"},
		{nil, true, "and withdrawn again"},
	} {
		r.SetRoutes(c.set)
		got := false
		select {
		case <-r.moved:
			got = true
		default:
		}
		if got != c.want || to.sets != i+1 {
			t.Errorf("step %d: %t, want %t: %s; the speaker was told %d times", i, got, c.want, c.why, to.sets)
		}
	}
}
