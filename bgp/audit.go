package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	auditEvery   = time.Second
	mismatchList = 8 // prefixes in a log line
)

// audit compares what every neighbor has been told with what is wanted, every second until ctx ends. It ends the sessions that were not
// sent what is wanted within tellWithin: if the embedded speaker is stuck, the end of its session is the withdrawal.
func (s *Speaker) audit(ctx context.Context) {
	trails := make([]trail, len(s.neighbors))
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, wanted := time.Now(), s.wantedNow()
		for i, n := range s.neighbors {
			n.audit(now, wanted, &trails[i])
		}
	}
}

// audit looks at one neighbor.
func (n *neighbor) audit(now time.Time, wanted map[netip.Prefix]wish, t *trail) {
	found, since := n.deviations(wanted)
	begun, ended := t.look(now, found)
	n.tell(slog.LevelWarn, "mismatch: ", begun)
	n.tell(slog.LevelInfo, "mismatch over: ", ended)
	lasting := t.lasting()
	var counts [numMismatches]int
	for _, m := range lasting {
		counts[m.Kind]++
	}
	for k, count := range counts {
		n.metrics.mismatches[k].Set(float64(count))
		if count > 0 {
			n.metrics.mismatchTime[k].Add(t.passed.Seconds())
		}
	}
	n.mu.Lock()
	n.mismatches = lasting
	n.mu.Unlock()
	if t.behind(now, since) {
		n.reset(errBehind)
	}
}

// tell writes a line for each kind.
func (n *neighbor) tell(level slog.Level, what string, ds []deviation) {
	for len(ds) > 0 {
		kind := ds[0].kind
		end := slices.IndexFunc(ds, func(d deviation) bool { return d.kind != kind })
		if end < 0 {
			end = len(ds)
		}
		var names []string
		for _, d := range ds[:min(end, mismatchList)] {
			names = append(names, d.prefix.String())
		}
		if end > mismatchList {
			names = append(names, strconv.Itoa(end-mismatchList)+" more")
		}
		n.log.Log(context.Background(), level, "neighbor "+n.name+": "+what+mismatchText[kind]+strings.Join(names, ", "), "reason", kind.String())
		ds = ds[end:]
	}
}

// deviations is what is otherwise than wanted at this moment, and when the neighbor's state began.
func (n *neighbor) deviations(wanted map[netip.Prefix]wish) (found map[deviation]struct{}, since time.Time) {
	n.mu.Lock()
	s := n.session
	n.mu.Unlock()
	acked, known := int64(0), false
	if s != nil {
		acked, known = s.acknowledged()
	}
	found = make(map[deviation]struct{})
	add := func(p netip.Prefix, k MismatchKind) { found[deviation{p, k}] = struct{}{} }
	n.mu.Lock()
	defer n.mu.Unlock()
	for p, r := range wanted {
		sent, is := n.routes[p]
		switch {
		case n.state != SessionEstablished:
			add(p, MismatchNoSession)
		case !slices.Contains(n.agreed, familyOf(p)):
			add(p, MismatchFamily)
		case !is:
			add(p, MismatchNotAnnounced)
		case sent.route.asked != r.Route || !n.encodes(r.Route, sent.attrs):
			add(p, MismatchAttributes)
		}
	}
	for p := range n.routes {
		if _, ok := wanted[p]; !ok {
			add(p, MismatchNotWithdrawn)
		}
	}
	for p, end := range n.unacked {
		switch {
		case s != n.session || !known: // nothing can be said of this session
		case acked >= end:
			delete(n.unacked, p)
		default:
			add(p, MismatchUnacknowledged)
		}
	}
	return found, n.since
}

// encodes says whether the route's attributes on the session are those. The caller holds mu.
func (n *neighbor) encodes(r Route, attrs string) bool {
	if n.session == nil {
		return true
	}
	out := n.session.out.Load()
	return out == nil || string(out.announcement(r).encode(out.fourOctet)) == attrs
}
