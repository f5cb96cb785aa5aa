package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/failover"
	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/router"
)

const (
	sharedRate = 5               // requests a second of each load, of which there are twelve a region
	freshFor   = 1               // seconds that the cached object is fresh
	noticed    = 4 * time.Second // more than it takes to find every origin dead and no region better off, and than freshFor
	withoutAny = 2 * time.Second // how long that state is watched
)

// shared is a run of the event in which every region loses its origins at once.
type shared struct {
	cached  map[string]*running // by region, of an object that every edge has
	dynamic map[string]*running // of what is never stored
	watches map[string]*netns.RouteWatch
	event   time.Time
	repair  time.Time
}

// playShared kills every origin at once and brings them back.
func playShared(ctx context.Context, s *stage, _ string) (failover.Sample, error) {
	run := &shared{cached: map[string]*running{}, dynamic: map[string]*running{}, watches: map[string]*netns.RouteWatch{}}
	object := "/static/" + strconv.FormatInt(time.Now().UnixNano(), 36) + "?age=" + strconv.Itoa(freshFor)
	for _, name := range Regions() {
		watch, err := Namespace(Router, name).WatchRoutes()
		if err != nil {
			return nil, err
		}
		defer watch.Close()
		if _, err := bench.Once(ctx, s.request(name, bench.HTTP1, Service4, object)); err != nil {
			return nil, fmt.Errorf("%s: store the object: %w", name, err)
		}
		run.watches[name] = watch
		run.cached[name] = start(ctx, s.sharedLoads(name, object, ""))
		run.dynamic[name] = start(ctx, s.sharedLoads(name, "/dynamic", "Retry-After"))
		defer run.cached[name].stop()
		defer run.dynamic[name].stop()
	}
	before := map[string]decisions{}
	for _, name := range Regions() {
		d, err := s.decisions(ctx, edgeName(name))
		if err != nil {
			return nil, err
		}
		before[name] = d
	}
	sample := failover.Sample{}
	err := run.play(ctx, s, sample)
	for _, name := range Regions() {
		now, derr := s.decisions(ctx, edgeName(name))
		err = errors.Join(err, derr)
		w, a := now.since(before[name])
		sample[failover.Withdrawals], sample[failover.Announcements] = sample[failover.Withdrawals]+w, sample[failover.Announcements]+a
	}
	return sample, err
}

// sharedLoads are those of a region over every protocol and both families, on new connections, with a response field to record.
func (s *stage) sharedLoads(name, path, field string) []load {
	loads := slices.DeleteFunc(s.usualLoads(name, path), func(l load) bool { return l.options.KeepAlive })
	for i := range loads {
		loads[i].name = name + " " + loads[i].name
		loads[i].options.Rate = sharedRate
		if field != "" {
			loads[i].options.ResponseField = field
		}
	}
	return loads
}

// play has the origins die and return under the loads. Whatever comes of it, they run again at the end.
func (run *shared) play(ctx context.Context, s *stage, sample failover.Sample) error {
	if err := pause(ctx, calm); err != nil {
		return err
	}
	run.event = time.Now()
	var errs []error
	for _, name := range Regions() {
		errs = append(errs, s.lab.KillOrigin(ctx, name))
	}
	errs = append(errs, pause(ctx, noticed+withoutAny))
	for _, name := range Regions() { // a cascade would have moved them
		for _, p := range []netip.Prefix{Prefix4, Prefix6} {
			if route, err := s.lab.Route(ctx, name, p); err != nil || !home(route) {
				errs = append(errs, errors.Join(err, fmt.Errorf("the router of %s has %s %s", name, p, route)))
			}
		}
	}
	run.repair = time.Now()
	for _, name := range Regions() {
		errs = append(errs, s.lab.StartOrigin(name))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, name := range Regions() {
		if err := s.awaitOrigin(ctx, name); err != nil {
			return err
		}
	}
	sample[failover.Recovered] = ms(time.Since(run.repair))
	if err := pause(ctx, 2*calm); err != nil {
		return err
	}
	for _, name := range Regions() {
		errs = append(errs, run.cached[name].stop(), run.dynamic[name].stop())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.lost = run.read(sample)
	return nil
}

// read fills in what the loads and the routers saw. The error is an example of what was not as it should be, for a report.
func (run *shared) read(sample failover.Sample) error {
	var lostOne, badOne error // the first examples
	sample[failover.FailedNew], sample[failover.Stale], sample[failover.Unhelpful], sample[failover.Moves], sample[failover.InFlight] = 0, 0, 0, 0, 0
	for _, name := range Regions() {
		m := marks{region: name, event: run.event, moves: movesAfter(run.event, run.watches[name])}
		sample[failover.Moves] += countMoves(m.moves)
		for i, result := range run.cached[name].results {
			lost := failures(result.Records, m.excused(run.cached[name].loads[i])...)
			sample[failover.InFlight] += float64(len(failures(result.Records)) - len(lost))
			sample[failover.Requests] += float64(len(result.Records))
			sample[failover.FailedNew] += float64(len(lost))
			sample[failover.Stale] += float64(run.stale(result.Records))
			lostOne = cmp.Or(lostOne, explain(run.cached[name].loads[i], result, lost, run.event))
		}
		for i, result := range run.dynamic[name].results {
			bad := run.unhelpful(result.Records, m.excused(run.dynamic[name].loads[i])...)
			sample[failover.Requests] += float64(len(result.Records))
			sample[failover.Unhelpful] += float64(len(bad))
			badOne = cmp.Or(badOne, explain(run.dynamic[name].loads[i], result, bad, run.event))
		}
	}
	return errors.Join(lostOne, badOne)
}

// home is the condition that the route in use is the region's own edge's, however often that has put its AS number before the path.
func home(r router.Route) bool {
	best, ok := r.Best()
	return ok && len(best.ASPath) > 0 && !slices.ContainsFunc(best.ASPath, func(asn uint32) bool { return asn != edgeASN })
}

// stale counts the answers while there was neither an origin nor freshness.
func (run *shared) stale(records []bench.Record) int {
	n := 0
	for _, r := range records {
		if !failed(r) && r.Sent().After(run.event.Add(noticed)) && r.End().Before(run.repair) {
			n++
		}
	}
	return n
}

// unhelpful are the requests that the edge could not answer and for which it did not say when to come again. Until it has noticed what has happened it
// may answer otherwise; it must always answer, but for what is under way at one of the moments at which the route moves.
func (run *shared) unhelpful(records []bench.Record, except ...time.Time) []bench.Record {
	var bad []bench.Record
	for _, r := range records {
		answered := r.Class == bench.OK || r.Class == bench.Status
		polite := r.Class == bench.OK || r.Status == http.StatusServiceUnavailable && r.Field != ""
		known := r.Sent().After(run.event.Add(noticed))
		if !answered && !under(r, except...) || answered && known && !polite || answered && !known && r.Status < http.StatusInternalServerError && !polite {
			bad = append(bad, r)
		}
	}
	return bad
}
