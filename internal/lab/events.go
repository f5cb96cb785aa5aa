package lab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"nearcast/internal/lab/failover"
	"nearcast/internal/lab/router"
)

// event is something that is measured, and how it is played.
type event struct {
	failover.Event
	regions []string // where it is played, one after the other
	most    int      // runs in a region; 0: as many as asked for
	// prepare sets the region up before its runs, restore undoes it; nil: nothing to do.
	prepare func(ctx context.Context, s *stage, region string) error
	restore func(ctx context.Context, s *stage, region string) error
	// play plays it once. The lab is whole before, and after it as far as it does not say otherwise in an error.
	play func(ctx context.Context, s *stage, region string) (failover.Sample, error)
}

// none is the target that there is none of it.
func none(m failover.Metric) failover.Target { return failover.Target{Metric: m} }

// within is a target that depends on how fast the machine is.
func within(m failover.Metric, most float64) failover.Target {
	return failover.Target{Metric: m, AtMost: most, Timed: true}
}

// silent are the targets of an edge that falls silent: BFD notices.
var silent = []failover.Target{within(failover.Elsewhere, ms(router.BFDMultiplier*bfdInterval)+100)}

// undecided are the targets of what is not the edge's to decide on: one withdrawal and one announcement at most.
var undecided = []failover.Target{{Metric: failover.Withdrawals, AtMost: 1}, {Metric: failover.Announcements, AtMost: 1}, within(failover.SessionBack, 2000)}

// events are what is measured, in the order in which it is played.
func events() []event {
	return []event{
		{
			Event: failover.Event{Name: "nothing", Does: "nothing", Holds: "no request fails: the measuring itself costs none",
				Targets: []failover.Target{none(failover.FailedNew), none(failover.FailedKept), none(failover.Moves)}},
			regions: bothDaemons(), play: playNothing,
		},
		{
			Event: failover.Event{Name: "stop", Does: "SIGTERM to the edge", Holds: "no request fails, no connection is reset but astride of the route's move",
				Targets: []failover.Target{none(failover.FailedNew), none(failover.FailedKept)}},
			regions: bothDaemons(), play: signalled(sigterm, true),
		},
		{
			Event: failover.Event{Name: "drain", Does: "`nearcast drain`, the edge lives on", Holds: "no request fails, no connection is reset but astride of the route's move",
				Targets: []failover.Target{none(failover.FailedNew), none(failover.FailedKept)}},
			regions: bothDaemons(), play: playDrain,
		},
		{
			Event: failover.Event{Name: "kill", Does: "kill -9 of the edge", Holds: "at most 2 new requests fail, the first success elsewhere within 150 ms and the path's round trips",
				Targets: []failover.Target{within(failover.FailedNew, 2), within(failover.Elsewhere, 150)}},
			regions: bothDaemons(), play: signalled(sigkill, false),
		},
		{
			Event:   failover.Event{Name: "stopped", Does: "SIGSTOP to the edge", Holds: "the first success elsewhere within 3 × BFD interval + 100 ms", Targets: silent},
			regions: bothDaemons(), play: signalled(syscall.SIGSTOP, false),
		},
		{
			Event:   failover.Event{Name: "cut", Does: "the edge's link loses every packet, carrier stays", Holds: "the first success elsewhere within 3 × BFD interval + 100 ms", Targets: silent},
			regions: bothDaemons(), play: playCut,
		},
		{
			Event: failover.Event{Name: "origins", Does: "all origins of the region are killed", Holds: "no request fails that another region's origin can answer, the route does not move",
				Targets: []failover.Target{none(failover.FailedNew), none(failover.FailedKept), none(failover.Moves)}},
			regions: bothDaemons(), play: playOrigins,
		},
		{
			Event: failover.Event{Name: "return", Does: "a stopped edge is started again", Holds: "no new request fails; what was in flight to the farther region is reset, and counted",
				Targets: []failover.Target{none(failover.FailedNew)}},
			regions: bothDaemons(), play: playReturn,
		},
		{
			Event: failover.Event{Name: "router-restart", Does: "the region's router daemon is restarted", Holds: "at most one withdrawal and one announcement are decided, the session is back within 2 s of the router",
				Targets: undecided},
			regions: bothDaemons(), play: playRouterRestart,
		},
		{
			Event: failover.Event{Name: "flap", Does: "the session is reset 10 times in a minute", Holds: "at most one withdrawal and one announcement are decided, the session is back within 2 s each time",
				Targets: undecided},
			regions: bothDaemons(), most: 2, play: playFlap,
		},
		{
			Event: failover.Event{Name: "shared-origin", Does: "all origins of all regions are killed at once, and return", Holds: "no edge withdraws and at the end all clients are at home, the cache serves on, other requests get 503 with Retry-After",
				Targets: []failover.Target{none(failover.Withdrawals), none(failover.FailedNew), none(failover.Unhelpful), {Metric: failover.Stale, AtLeast: 1}}},
			regions: []string{"all"}, play: playShared,
		},
		{
			Event: failover.Event{Name: "control-plane", Does: "a second router sends 1,000,000 routes and 1,000 malformed UPDATEs", Holds: "no request fails, latency and memory stay, the route does not move",
				Targets: []failover.Target{none(failover.FailedNew), none(failover.FailedKept), none(failover.InFlight), none(failover.Moves), none(failover.Withdrawals),
					{Metric: failover.Received, AtLeast: 100}, within(failover.RSSGrowth, 16), within(failover.P99Growth, 20)}},
			regions: []string{"nyc"}, prepare: prepareRogue, play: playControlPlane, restore: removeRogue,
		},
	}
}

// signalled plays an event that is a signal to the region's edge. The edge is a new process afterwards.
func signalled(signal syscall.Signal, lossless bool) func(context.Context, *stage, string) (failover.Sample, error) {
	return func(ctx context.Context, s *stage, name string) (failover.Sample, error) {
		return s.playMove(ctx, disturbance{
			region: name, lossless: lossless,
			event: func(context.Context) error { return s.lab.SignalEdge(edgeName(name), signal) },
			repair: func(ctx context.Context) error {
				if signal == sigterm {
					return s.lab.StopEdge(ctx, edgeName(name)) // it may still be draining
				}
				return s.lab.programs.Stop(ctx, edgeProgram(edgeName(name)), 0)
			},
		})
	}
}

// playDrain orders the region's edge to drain, as `nearcast drain` does, and takes the order back.
func playDrain(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	order := func(path, body string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.admin(ctx, http.MethodPost, edgeName(name), path, body)
			return err
		}
	}
	return s.playMove(ctx, disturbance{
		region: name, lossless: true,
		event:  order("/drain", `{"why": "the lab measures", "force": true}`),
		repair: order("/undrain", "{}"),
	})
}

// playCut cuts the edge's link. The edge is a new process afterwards, so that no run begins with the hold-down of the one before.
func playCut(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	return s.playMove(ctx, disturbance{
		region: name,
		event:  func(ctx context.Context) error { return s.lab.CutEdge(ctx, edgeName(name)) },
		repair: func(ctx context.Context) error {
			if err := s.lab.programs.Stop(ctx, edgeProgram(edgeName(name)), 0); err != nil {
				return err
			}
			return s.lab.MendEdge(ctx, edgeName(name))
		},
	})
}

// prepareRogue gives the region's edge a second neighbor.
func prepareRogue(ctx context.Context, s *stage, name string) error {
	r, err := region(name)
	if err != nil {
		return err
	}
	if err := buildRogue(ctx, r); err != nil {
		return err
	}
	return s.replaceEdge(ctx, edgeName(name), EdgeOptions{Rogue: true})
}

func removeRogue(ctx context.Context, s *stage, name string) error {
	if err := s.lab.StopEdge(ctx, edgeName(name)); err != nil {
		return err
	}
	return Namespace(Rogue, name).Delete(ctx)
}

// Events are what can be measured, in order.
func Events() []failover.Event {
	var all []failover.Event
	for _, e := range events() {
		all = append(all, e.Event)
	}
	return all
}

// CheckEvents says whether all the names are of events, before a lab is built for them.
func CheckEvents(names ...string) error {
	_, err := chooseEvents(names)
	return err
}

func chooseEvents(only []string) ([]event, error) {
	all := events()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []event
	for _, name := range only {
		i := slices.IndexFunc(all, func(e event) bool { return e.Name == name })
		if i < 0 {
			var names []string
			for _, e := range all {
				names = append(names, e.Name)
			}
			return nil, fmt.Errorf("no event is called %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
