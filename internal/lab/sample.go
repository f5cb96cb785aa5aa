package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/failover"
	"nearcast/internal/lab/figure"
	"nearcast/internal/lab/netns"
)

// marks are the moments of a run that its records are read by.
type marks struct {
	region string
	event  time.Time
	abrupt bool                         // what is under way at the event may be lost
	moves  map[netip.Prefix][]time.Time // when the region's router sent packets another way, by prefix
}

// late is by how much a move may be noted late, when every processor is busy: clients have seen what comes of it by then.
const late = 50 * time.Millisecond

// excused are the moments at which a request of the load may be lost, which nothing at the edge can help.
func (m marks) excused(l load) []time.Time {
	var at []time.Time
	for _, move := range m.moves[prefixOf(l)] {
		at = append(at, move, move.Add(-late))
	}
	if m.abrupt {
		at = append(at, m.event)
	}
	return at
}

// prefixOf is the prefix that the load's packets follow.
func prefixOf(l load) netip.Prefix {
	if to, err := netip.ParseAddrPort(l.options.Address); err == nil && to.Addr().Is6() {
		return Prefix6
	}
	return Prefix4
}

// movesAfter are the moments after the event in which the router began to send packets another way, by prefix.
func movesAfter(event time.Time, w *netns.RouteWatch) map[netip.Prefix][]time.Time {
	moves := map[netip.Prefix][]time.Time{}
	for _, p := range []netip.Prefix{Prefix4, Prefix6} {
		for _, c := range w.Changes(p) {
			if c.At.After(event) {
				moves[p] = append(moves[p], c.At)
			}
		}
	}
	return moves
}

func countMoves(moves map[netip.Prefix][]time.Time) float64 {
	n := 0
	for _, at := range moves {
		n += len(at)
	}
	return float64(n)
}

// ms is a duration as samples have it.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// readFailures fills in what failed, and how long there was no answer. It returns what is to be said of the failures that nothing excuses.
func readFailures(s failover.Sample, load *running, m marks) error {
	var errs []error
	s[failover.InFlight], s[failover.Repeated] = 0, 0
	type kind struct {
		protocol bench.Protocol
		kept     bool
	}
	lostOf := map[kind]float64{}
	for i, result := range load.results {
		l := load.loads[i]
		lost := failures(result.Records, m.excused(l)...)
		s[failover.Requests] += float64(len(result.Records))
		s[failover.InFlight] += float64(len(failures(result.Records)) - len(lost))
		errs = append(errs, explain(l, result, lost, m.event))
		lostOf[kind{l.options.Protocol, l.options.KeepAlive}] += float64(len(lost))
		longest := failover.GapNew
		if l.options.KeepAlive {
			longest = failover.GapKept
		}
		s[longest] = max(s[longest], ms(gap(result.Records)))
		for _, r := range result.Records {
			if r.Retried && !failed(r) {
				s[failover.Repeated]++
			}
		}
	}
	for k, n := range lostOf {
		worst := failover.FailedNew
		if k.kept {
			worst = failover.FailedKept
		}
		s[worst] = max(s[worst], n)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\n  the route moved %s after the event", err, m.sinceEvent())
	}
	return nil
}

// sinceEvent are the moves in words, in milliseconds since the event.
func (m marks) sinceEvent() string {
	var words []string
	for _, p := range []netip.Prefix{Prefix4, Prefix6} {
		for _, at := range m.moves[p] {
			words = append(words, fmt.Sprintf("%s %.1f", p, ms(at.Sub(m.event))))
		}
	}
	return strings.Join(words, ", ") + " ms"
}

// gap is the longest time in which no answer was completed, also when none was any more before the last request was sent.
func gap(records []bench.Record) time.Duration {
	var ends []time.Time
	var last time.Time
	for _, r := range records {
		if r.Sent().After(last) {
			last = r.Sent()
		}
		if !failed(r) {
			ends = append(ends, r.End())
		}
	}
	if len(ends) == 0 || last.After(slices.MaxFunc(ends, time.Time.Compare)) {
		ends = append(ends, last)
	}
	slices.SortFunc(ends, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(ends); i++ {
		longest = max(longest, ends[i].Sub(ends[i-1]))
	}
	return longest
}

// readElsewhere returns how long it took from the event until the answer to a new connection that ok accepts was whole, less the round
// trips of the path to there: of the loads the slowest. The second result are the loads that got no such answer.
func readElsewhere(load *running, event time.Time, rtt time.Duration, ok func(bench.Record) bool) (slowest time.Duration, without []string) {
	for i, result := range load.results {
		l := load.loads[i]
		if l.options.KeepAlive {
			continue // it may wait for its edge to come back, as QUIC does while the other end goes on talking
		}
		first := time.Time{}
		for _, r := range result.Records {
			if end := r.End(); !failed(r) && ok(r) && end.After(event) && (first.IsZero() || end.Before(first)) {
				first = end
			}
		}
		if first.IsZero() {
			without = append(without, l.name)
			continue
		}
		slowest = max(slowest, first.Sub(event)-trips(l.options.Protocol)*rtt)
	}
	return slowest, without
}

// trips are the round trips of a request on a new connection: TCP, TLS 1.3, the request; QUIC has the first two in one.
func trips(p bench.Protocol) time.Duration {
	if p == bench.HTTP3 {
		return 2
	}
	return 3
}

// roundTrip is that of the path between two regions.
func roundTrip(a, b string) time.Duration {
	for _, p := range paths {
		if linkName(p.a, p.b) == linkName(a, b) {
			return 2 * p.delay
		}
	}
	return 0
}

// p99 is a latency that 99 percent of the successes sent within a time did not exceed.
func p99(load *running, from, to time.Time) float64 {
	var all []float64
	for _, result := range load.results {
		for _, r := range result.Records {
			if !failed(r) && r.Sent().After(from) && r.Sent().Before(to) {
				all = append(all, ms(r.End().Sub(r.Sent())))
			}
		}
	}
	v, _ := figure.Percentile(all, 99)
	return v
}
