package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"nearcast/bgp"
	"nearcast/fleet"
)

// stuckAfter is how old what an edge says of itself may be: it says it with each decision, of which there is one a second at least, so one that
// answers with something older answers and does not decide.
const stuckAfter = 5 * time.Second

// others are what the other edges say, and what the routers show of them.
func (e *edge) others() bgp.Others {
	o := bgp.Others{Region: e.cfg.Edge.Region, Edges: heardEdges(e.fleet.View().Others(e.cfg.Edge.Name), time.Now())}
	if e.speaker == nil {
		return o
	}
	view := e.speaker.View()
	o.Seen = view.Seen(e.cfg.Anycast.Prefixes)
	o.Edges = addBeacons(o.Edges, view.Regions(), e.cfg.Anycast.Prefixes)
	return o
}

// heardEdges has the fleet's words for package bgp. What is not known is not there.
func heardEdges(peers []*fleet.Peer, now time.Time) []bgp.OtherEdge {
	var out []bgp.OtherEdge
	for _, p := range peers {
		edge := bgp.OtherEdge{Name: cmp.Or(p.Edge, p.Address.String()), Region: p.Region, Unasked: p.State == fleet.Unknown}
		if p.State == fleet.Heard && p.Report.Age+now.Sub(p.HeardAt) < stuckAfter {
			edge.Heard = true
			edge.Routes = make(map[netip.Prefix]bgp.OtherRoute, len(p.Report.Prefixes))
			for _, r := range p.Report.Prefixes {
				edge.Routes[r.Prefix] = bgp.OtherRoute{Level: bgp.ParseLevel(r.Level.String())}
			}
			for _, i := range p.Report.Intents {
				r := edge.Routes[i.Prefix]
				r.Wants = true
				edge.Routes[i.Prefix] = r
			}
		}
		out = append(out, edge)
	}
	return out
}

// addBeacons counts a region whose beacon the routers show as one that holds every route at full preference, which is what its beacon says,
// unless an edge of the region is heard: that knows better.
func addBeacons(edges []bgp.OtherEdge, regions []bgp.RegionView, prefixes []netip.Prefix) []bgp.OtherEdge {
	for _, r := range regions {
		heard := false
		for _, e := range edges {
			heard = heard || e.Region == r.Region && e.Heard
		}
		if !r.Seen || heard {
			continue
		}
		beacon := bgp.OtherEdge{Name: "beacon of " + r.Region, Region: r.Region, Heard: true, Routes: map[netip.Prefix]bgp.OtherRoute{}}
		for _, p := range prefixes {
			beacon.Routes[p] = bgp.OtherRoute{Level: bgp.LevelFull}
		}
		edges = append(edges, beacon)
	}
	return edges
}

// told takes a decision's outcome to those who act by it: the other edges, and the proxy.
func (e *edge) told(prefixes []bgp.PrefixStatus) {
	report := newReport(prefixes, e.speaker.Status(), time.Now())
	report.Load = e.load.Snapshot().Level.String()
	e.fleet.Publish(report)
	e.proxy.SetFailFast(slices.ContainsFunc(prefixes, func(p bgp.PrefixStatus) bool { return p.LastRegion }))
}

// newReport is what the other edges are told. They withdraw or drain because this one holds a route, so only what a neighbor has been sent
// counts as held, whatever was decided.
func newReport(prefixes []bgp.PrefixStatus, neighbors []bgp.NeighborStatus, now time.Time) (r fleet.Report) {
	for _, p := range prefixes {
		r.Draining = r.Draining || p.Reason == bgp.ReasonDraining || p.Reason == bgp.ReasonStopping
		said := fleet.PrefixReport{Prefix: p.Prefix, Reason: p.Reason.String(), For: now.Sub(p.Since)}
		_ = said.Level.UnmarshalText([]byte(p.Level.String())) // the words are the same
		if p.Announced && !sentToAny(neighbors, p.Prefix) {
			said.Level, said.Reason, said.For = fleet.LevelWithdrawn, "no neighbor has been sent it", 0
		}
		r.Prefixes = append(r.Prefixes, said)
		if p.WantsToLeave {
			r.Intents = append(r.Intents, fleet.Intent{Prefix: p.Prefix, Reason: p.Reason.String(), For: now.Sub(p.Since)})
		}
	}
	return r
}

// sentToAny says whether some neighbor has been sent the prefix on the session that it has now.
func sentToAny(neighbors []bgp.NeighborStatus, p netip.Prefix) bool {
	return slices.ContainsFunc(neighbors, func(n bgp.NeighborStatus) bool { return slices.Contains(n.Prefixes, p) })
}
