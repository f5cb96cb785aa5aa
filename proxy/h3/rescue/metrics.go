package rescue

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/h3/rescue/tunnel"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_rescue_forwarded_total":   "QUIC packets of another edge's connections that were sent on to it, by reason.",
	"nearcast_rescue_received_total":    "QUIC packets of connections here that another edge sent on to us.",
	"nearcast_rescue_returned_total":    "QUIC packets to clients that went back through the edge that sends theirs on: out, ours through it; in, its own through us.",
	"nearcast_rescue_resets_total":      "Stateless resets for connections that are over, by cause.",
	"nearcast_rescue_dropped_total":     "Datagrams of clients and of other edges that were dropped, by reason.",
	"nearcast_rescue_peer_up":           "Whether the other edge's QUIC listener is heard: 1 or 0.",
	"nearcast_rescue_rtt_seconds":       "Round trip time to the other edge's QUIC listener; 0 while unknown.",
	"nearcast_rescue_mtu_bytes":         "Largest datagram to the other edge that is known to arrive.",
	"nearcast_rescue_parameters_differ": "1 while the other edge has other transport limits than we: its clients' 0-RTT fails here.",
	"nearcast_rescue_clock_differs":     "1 while the other edge's clock is in another epoch of the keys.",
	"nearcast_rescue_flows":             "Clients whose packets are sent on to other edges.",
	"nearcast_rescue_clients":           "Clients of ours whose packets other edges send on to us.",
	"nearcast_rescue_vanished_total":    "Clients that come by other edges and did not get what was sent to them directly.",
	"nearcast_rescue_table_full_total":  "Entries that were forgotten because their table was full.",
}

// drop is why a datagram was dropped.
type drop uint8

const (
	dropMalformed    drop = iota // no datagram of a tunnel's, or no address to go with it
	dropUnknownEdge              // from or for an edge that is not configured
	dropForged                   // a tunnel's datagram that was not made with the fleet's keys
	dropReplayed                 // one that came before
	dropStale                    // one of a session that is over
	dropRate                     // more than MaxRate for a peer
	dropClientRate               // more than a quarter of it from a client
	dropLinkDown                 // the other edge is not heard, and not dead yet
	dropResetRate                // a reset too many
	dropNoReset                  // a connection that is over, but nothing may be said
	dropNotForwarded             // a peer's packet to a client that sent it nothing through us
	dropTooLarge                 // larger than what takes it
	dropSend                     // the kernel did not take it
	drops
)

func (d drop) String() string {
	return [...]string{"malformed", "unknown edge", "forged", "replayed", "stale", "rate", "client rate", "link down", "reset rate",
		"no reset", "not forwarded", "too large", "send"}[d]
}

// dropOf is why a link refuses a datagram.
func dropOf(err error) drop {
	switch err {
	case tunnel.ErrForged:
		return dropForged
	case tunnel.ErrReplayed:
		return dropReplayed
	case tunnel.ErrSession:
		return dropStale
	case tunnel.ErrOther:
		return dropUnknownEdge
	}
	return dropMalformed
}

type hubMetrics struct {
	dropped    [drops]*metrics.Counter
	resets     [causes]*metrics.Counter
	flowsFull  *metrics.Counter
	homesFull  *metrics.Counter
	movesFull  *metrics.Counter
	sourceFull *metrics.Counter
	vanished   *metrics.Counter
}

type peerMetrics struct {
	forwarded             [reasons]*metrics.Counter
	received              *metrics.Counter
	returnedOut, returned *metrics.Counter
}

func newHubMetrics(set *metrics.Set, port uint16) *hubMetrics {
	m := new(hubMetrics)
	for d := range drops {
		m.dropped[d] = set.GetOrCreateCounter(fmt.Sprintf(`nearcast_rescue_dropped_total{port="%d",reason=%q}`, port, d))
	}
	for c := silence; c < causes; c++ {
		m.resets[c] = set.GetOrCreateCounter(fmt.Sprintf(`nearcast_rescue_resets_total{port="%d",cause=%q}`, port, c))
	}
	full := func(table string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`nearcast_rescue_table_full_total{port="%d",table=%q}`, port, table))
	}
	m.flowsFull, m.homesFull, m.movesFull, m.sourceFull = full("flows"), full("clients"), full("moves"), full("sources")
	m.vanished = set.GetOrCreateCounter(fmt.Sprintf(`nearcast_rescue_vanished_total{port="%d"}`, port))
	return m
}

func newPeerMetrics(set *metrics.Set, where string) (m peerMetrics) {
	for r := range reasons {
		m.forwarded[r] = set.GetOrCreateCounter(fmt.Sprintf(`nearcast_rescue_forwarded_total{%s,reason=%q}`, where, r))
	}
	m.received = set.GetOrCreateCounter("nearcast_rescue_received_total{" + where + "}")
	m.returnedOut = set.GetOrCreateCounter("nearcast_rescue_returned_total{" + where + `,direction="out"}`)
	m.returned = set.GetOrCreateCounter("nearcast_rescue_returned_total{" + where + `,direction="in"}`)
	return m
}

// where are the labels of what is counted for a peer.
func (h *Hub) where(e Edge) string {
	return fmt.Sprintf(`port="%d",peer=%q,region=%q`, h.port, e.Address, e.Region)
}

// gauges shows what is so now, until the function that it returns is called.
func (h *Hub) gauges() (remove func()) {
	var names []string
	gauge := func(name string, f func() float64) {
		h.cfg.Metrics.UnregisterMetric(name) // that of the hub that the port had before
		h.cfg.Metrics.NewGauge(name, f)
		names = append(names, name)
	}
	port := fmt.Sprintf(`{port="%d"}`, h.port)
	gauge("nearcast_rescue_flows"+port, func() float64 { return float64(h.flows.count.Load()) })
	gauge("nearcast_rescue_clients"+port, func() float64 { return float64(h.homes.count.Load()) })
	for _, p := range h.peers {
		where := "{" + h.where(p.edge) + "}"
		gauge("nearcast_rescue_peer_up"+where, func() float64 { return truth(p.view.Load().reach == up) })
		gauge("nearcast_rescue_rtt_seconds"+where, func() float64 { return p.link.Peer(h.now()).RTT.Seconds() })
		gauge("nearcast_rescue_mtu_bytes"+where, func() float64 { return float64(p.link.Peer(h.now()).MTU) })
		gauge("nearcast_rescue_parameters_differ"+where, func() float64 { return truth(p.parametersDiffer.Load()) })
		gauge("nearcast_rescue_clock_differs"+where, func() float64 { return truth(p.clockDiffers.Load()) })
	}
	return func() {
		for _, n := range names {
			h.cfg.Metrics.UnregisterMetric(n)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
