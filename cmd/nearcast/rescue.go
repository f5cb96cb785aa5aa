package main

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/fleet"
	"nearcast/internal/config"
	"nearcast/proxy/front"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

// shared is what the listeners share with those of the other edges.
func (e *edge) shared(log *slog.Logger, set *metrics.Set) (s front.Fleet) {
	if e.fleet == nil {
		return s
	}
	s.Keys = e.fleet.Keys
	if !e.cfg.Rescues() {
		return s
	}
	s.Rescue = newRescue(e.cfg)
	s.Rescue.Keys, s.Rescue.Log, s.Rescue.Metrics = e.fleet.Keys, log, set
	if e.routes != nil {
		s.Rescue.Announced = e.routes.announces
	}
	return s
}

// replies has the configuration's words for package rescue.
var replies = map[string]rescue.Reply{fleet.ReplyAuto: rescue.ReplyAuto, fleet.ReplyDirect: rescue.ReplyDirect, fleet.ReplyTunnel: rescue.ReplyTunnel}

// newRescue is who the edges are that send each other's QUIC packets on, as the configuration has it.
func newRescue(cfg *config.Config) *rescue.Config {
	own := netip.MustParseAddrPort(cfg.Fleet.Address)
	own = netip.AddrPortFrom(own.Addr().Unmap(), own.Port())
	q := cfg.Fleet.QUIC
	r := &rescue.Config{Self: quicEdge(cfg.Edge.Region, own), Reply: replies[q.Reply], DeadAfter: q.DeadAfter, FollowAfter: q.FollowAfter, MaxRate: q.MaxRate}
	var instance [1]byte
	_, _ = rand.Read(instance[:]) // never fails
	r.Instance = instance[0]
	for region, place := range cfg.Regions {
		for _, e := range place.Edges {
			if peer := quicEdge(region, e.AddrPort); peer.Number != r.Self.Number {
				r.Peers = append(r.Peers, peer)
			}
		}
	}
	slices.SortFunc(r.Peers, func(a, b rescue.Edge) int { return a.Address.Compare(b.Address) })
	return r
}

func quicEdge(region string, address netip.AddrPort) rescue.Edge {
	return rescue.Edge{Number: cid.EdgeNumber(address), Region: region, Address: address.Addr().Unmap()}
}
