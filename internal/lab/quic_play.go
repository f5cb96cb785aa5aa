package lab

import (
	"context"
	"errors"
	"net/http"
	"time"

	"nearcast/internal/lab/survival"
)

// playStill has nothing happen, which shows what the measuring itself costs.
func playStill(ctx context.Context, r *quicRun) error {
	r.mark()
	return pause(ctx, r.patience)
}

// playLed moves the route through other regions and home, while every edge lives on.
func playLed(through ...string) func(context.Context, *quicRun) error {
	return func(ctx context.Context, r *quicRun) error {
		r.mark()
		for _, name := range through {
			if err := r.lab.Lead(quicRegion, name, r.service); err != nil {
				return err
			}
			if err := pause(ctx, r.patience); err != nil {
				return err
			}
		}
		return r.lab.Follow(quicRegion, r.service)
	}
}

// playToggled moves the route away and home so many times in all, so far apart.
func playToggled(moves int, apart time.Duration) func(context.Context, *quicRun) error {
	return func(ctx context.Context, r *quicRun) error {
		r.mark()
		tick := time.NewTicker(apart)
		defer tick.Stop()
		for i := range moves {
			var err error
			if i%2 == 0 {
				err = r.lab.Lead(quicRegion, away, r.service)
			} else {
				err = r.lab.Follow(quicRegion, r.service)
			}
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
		return r.lab.Follow(quicRegion, r.service)
	}
}

// playKill kills the edge. The end of its session moves the route.
func playKill(_ context.Context, r *quicRun) error {
	r.mark()
	return r.lab.SignalEdge(edgeName(quicRegion), sigkill)
}

// playBlackHole cuts the edge off without a word. The route moves at once, which the routers would take a while for.
func playBlackHole(ctx context.Context, r *quicRun) error {
	r.mark()
	if err := r.lab.CutEdge(ctx, edgeName(quicRegion)); err != nil {
		return err
	}
	return r.lab.Lead(quicRegion, away, r.service)
}

// buryEdge ends the edge, if it still runs, and mends its link: no run begins with the hold-down of the one before.
func buryEdge(ctx context.Context, r *quicRun) error {
	edge := edgeName(quicRegion)
	return errors.Join(r.lab.programs.Stop(ctx, edgeProgram(edge), 0), r.lab.MendEdge(ctx, edge))
}

// playDrained drains the edge, as `nearcast drain` does, and takes that back.
func playDrained(ctx context.Context, r *quicRun) error {
	r.mark()
	edge := edgeName(quicRegion)
	if _, err := r.admin(ctx, http.MethodPost, edge, "/drain", `{"why": "the lab measures", "force": true}`); err != nil {
		return err
	}
	if err := pause(ctx, r.patience+time.Second); err != nil {
		return err
	}
	if _, err := r.admin(ctx, http.MethodPost, edge, "/undrain", "{}"); err != nil {
		return err
	}
	return r.lab.awaitRoutes(ctx, quicRegion, "the edge's return", own, Prefix4, Prefix6)
}

// playStop stops the edge in an orderly way.
func playStop(_ context.Context, r *quicRun) error {
	r.mark()
	return r.lab.SignalEdge(edgeName(quicRegion), sigterm)
}

// awaitStopped waits for it.
func awaitStopped(ctx context.Context, r *quicRun) error {
	return r.lab.StopEdge(ctx, edgeName(quicRegion))
}

// leadToFirst gives all connections to the first of the region's edges.
func leadToFirst(_ context.Context, r *quicRun) error {
	return r.lab.Lead(quicRegion, edgeName(quicRegion), r.service)
}

// playHalfDead spreads the flows over both edges, and then the one that has the connections dies.
func playHalfDead(ctx context.Context, r *quicRun) error {
	if err := r.lab.Follow(quicRegion, r.service); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	return playKill(ctx, r)
}

// playFlipped sends the flows to the second edge, to the first, to both, and to both by the addresses alone.
func playFlipped(ctx context.Context, r *quicRun) error {
	const apart = 250 * time.Millisecond
	r.mark()
	for _, edge := range []string{"nyc-2", "nyc-1", "nyc-2", "nyc-1", "nyc-2"} {
		if err := r.lab.Lead(quicRegion, edge, r.service); err != nil {
			return err
		}
		if err := pause(ctx, apart); err != nil {
			return err
		}
	}
	if err := r.lab.Follow(quicRegion, r.service); err != nil {
		return err
	}
	for _, by := range []string{byAddresses, byPorts, byAddresses, byPorts} {
		if err := pause(ctx, apart); err != nil {
			return err
		}
		if err := r.lab.spread(quicRegion, by); err != nil {
			return err
		}
	}
	return nil
}

// playRebound gives every QUIC client other ports again and again, and counts them: that nothing happened would prove nothing.
func playRebound(ctx context.Context, r *quicRun) error {
	r.mark()
	if err := r.lab.translate(ctx, quicRegion); err != nil {
		return err
	}
	for range 20 {
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		if err := Namespace(Client, quicRegion).ForgetFlows(); err != nil {
			return err
		}
	}
	if err := pause(ctx, calm); err != nil {
		return err
	}
	ports, err := r.lab.translated(ctx, quicRegion)
	r.common[survival.Ports] = float64(ports)
	return err
}

// beStrict has the router drop what the edge sends from an address that the way to does not lead back to it.
func beStrict(_ context.Context, r *quicRun) error { return r.lab.strict(edgeName(quicRegion), true) }

// playPartition moves the route to an edge that cannot send anything on.
func playPartition(ctx context.Context, r *quicRun) error {
	r.mark()
	if err := r.lab.deafen(ctx, edgeName(away), edgeName(quicRegion)); err != nil {
		return err
	}
	if err := r.lab.Lead(quicRegion, away, r.service); err != nil {
		return err
	}
	return pause(ctx, r.patience)
}

// The edges' own counts of what became of connections. only: those with a label of that value.
var counted = []struct {
	metric survival.Metric
	name   string
	only   [2]string
}{
	{metric: survival.Forwarded, name: "nearcast_rescue_forwarded_total"},
	{metric: survival.Returned, name: "nearcast_rescue_returned_total", only: [2]string{"direction", "out"}},
	{metric: survival.Resets, name: "nearcast_rescue_resets_total"},
	{metric: survival.Early, name: "nearcast_early_data_connections_total", only: [2]string{"result", "accepted"}},
}

// said is what every edge that answers has counted so far.
func (r *quicRun) said(ctx context.Context) map[string]survival.Sample {
	all := map[string]survival.Sample{}
	for _, e := range allSites() {
		text, err := r.metrics(ctx, e.Name())
		if err != nil {
			continue
		}
		all[e.Name()] = survival.Sample{}
		for _, c := range counted {
			for labels, v := range series(text, c.name) {
				if c.only[0] == "" || label(labels, c.only[0]) == c.only[1] {
					all[e.Name()][c.metric] += v
				}
			}
		}
	}
	return all
}

// grown is what edges have counted between two answers. One that is a new process has counted from zero.
func grown(before, now map[string]survival.Sample) survival.Sample {
	sum := survival.Sample{}
	for edge, counts := range now {
		for metric, v := range counts {
			if was := before[edge][metric]; was <= v {
				v -= was
			}
			sum[metric] += v
		}
	}
	return sum
}
