package main

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/fleet"
	"nearcast/internal/config"
)

// openFleet makes the part that the other edges ask and that asks them. Until the first decision it says that nothing is announced.
func openFleet(cfg *config.Config, log *slog.Logger, set *metrics.Set) (*fleet.Fleet, error) {
	self := fleet.Identity{Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Software: version}
	var edges []fleet.Target
	for _, region := range slices.Sorted(maps.Keys(cfg.Regions)) {
		for _, e := range cfg.Regions[region].Edges {
			edges = append(edges, fleet.Target{Region: region, Address: e.AddrPort})
		}
	}
	f, err := fleet.Open(cfg.Fleet, self, edges, log, set)
	if err != nil {
		return nil, err
	}
	f.Publish(startReport(cfg.Anycast))
	return f, nil
}

// startReport is what an edge says before anything has been decided.
func startReport(anycast *bgp.Config) (r fleet.Report) {
	if anycast == nil {
		return r
	}
	for _, p := range anycast.Prefixes {
		r.Prefixes = append(r.Prefixes, fleet.PrefixReport{Prefix: p, Level: fleet.LevelWithdrawn, Reason: "starting"})
	}
	return r
}
