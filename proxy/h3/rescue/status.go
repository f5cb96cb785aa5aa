package rescue

import (
	"net/netip"
	"time"
)

// Status is what a hub knows, for operators.
type Status struct {
	Port    uint16       `json:"port"`
	State   string       `json:"state"` // ours: announcing, draining or gone
	Peers   []PeerStatus `json:"peers"`
	Flows   int          `json:"flows"`   // clients whose packets are sent on to other edges
	Clients int          `json:"clients"` // clients of ours whose packets other edges send on
	Moves   []Move       `json:"moves"`   // the latest 256, newest first
}

// PeerStatus is what is known of another edge. Times are zero, and numbers 0, while they are unknown.
type PeerStatus struct {
	Number           uint32     `json:"number"` // in connection IDs
	Region           string     `json:"region"`
	Address          netip.Addr `json:"address"`
	Reach            string     `json:"reach"` // unknown, up, dead, or deaf: it is heard, and does not hear us
	Since            time.Time  `json:"since"` // of reach
	State            string     `json:"state"` // what it says: announcing, draining or gone
	Instance         uint8      `json:"instance"`
	RTT              float64    `json:"rtt_ms"`
	MTU              int        `json:"mtu"` // octets of the largest datagram; 1232 until a larger one is known to arrive
	ForwardedOut     uint64     `json:"forwarded_out"`
	ForwardedIn      uint64     `json:"forwarded_in"`
	ReturnedOut      uint64     `json:"returned_out"`         // to clients of ours, through it
	ReturnedIn       uint64     `json:"returned_in"`          // to its clients, through us
	LastPacket       time.Time  `json:"last_packet,omitzero"` // that was sent on, either way
	ParametersDiffer bool       `json:"parameters_differ,omitempty"`
	ClockDiffers     bool       `json:"clock_differs,omitempty"`
}

// Status returns what the hub knows now.
func (h *Hub) Status() Status {
	s := Status{
		Port: h.port, State: State(h.state.Load()).String(), Peers: []PeerStatus{},
		Flows: int(h.flows.count.Load()), Clients: int(h.homes.count.Load()), Moves: h.moves.list(),
	}
	now := h.now()
	for _, p := range h.peers {
		v, said := p.view.Load(), p.link.Peer(now)
		e := PeerStatus{
			Number: p.edge.Number, Region: p.edge.Region, Address: p.edge.Address, Reach: v.reach.String(), Since: v.since,
			RTT: float64(said.RTT) / 1e6, MTU: said.MTU,
			ForwardedIn: p.metrics.received.Get(), ReturnedOut: p.metrics.returnedOut.Get(), ReturnedIn: p.metrics.returned.Get(),
			ParametersDiffer: p.parametersDiffer.Load(), ClockDiffers: p.clockDiffers.Load(),
		}
		if v.reach == dead && !v.deaf.IsZero() {
			e.Reach = "deaf"
		}
		if v.heard {
			e.State, e.Instance = v.state.String(), v.instance
		}
		for _, c := range p.metrics.forwarded {
			e.ForwardedOut += c.Get()
		}
		if ns := p.last.Load(); ns != 0 {
			e.LastPacket = h.started.Add(time.Duration(ns))
		}
		s.Peers = append(s.Peers, e)
	}
	return s
}
