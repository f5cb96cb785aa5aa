package main

import (
	"fmt"
	"strings"
	"time"

	"nearcast/bgp"
	"nearcast/cache"
	"nearcast/fleet"
	"nearcast/health"
	"nearcast/health/load"
	"nearcast/internal/loopback"
	"nearcast/proxy/h3/rescue"
)

// status is what /status shows.
type status struct {
	Edge      string               `json:"edge"`
	Region    string               `json:"region"`
	Version   string               `json:"version"`
	Started   time.Time            `json:"started"`
	Prefixes  []bgp.PrefixStatus   `json:"prefixes,omitempty"`
	Drain     *drainStatus         `json:"drain,omitempty"`
	Neighbors []bgp.NeighborStatus `json:"neighbors,omitempty"`
	Addresses []loopback.Status    `json:"addresses,omitempty"`
	Listeners []targetStatus       `json:"listeners,omitempty"`
	Origins   []targetStatus       `json:"origins"`
	DiskCache *cache.DiskStatus    `json:"disk_cache,omitempty"`
	Fleet     *fleet.Status        `json:"fleet,omitempty"`
	QUIC      []rescue.Status      `json:"quic,omitempty"` // by port, where edges send packets of each other's connections on
	Load      *load.State          `json:"load"`
}

// drainStatus is the order in force, if there is one, and the way out.
type drainStatus struct {
	Order  *bgp.DrainOrder `json:"order,omitempty"`
	Ladder []drainStep     `json:"ladder"` // after the last of which the routes are withdrawn
}

type drainStep struct {
	Community string  `json:"community,omitempty"`
	Prepend   uint8   `json:"prepend,omitempty"`
	Seconds   float64 `json:"seconds"`
}

func newDrainStatus(c *bgp.Config, order *bgp.DrainOrder) *drainStatus {
	d := &drainStatus{Order: order, Ladder: make([]drainStep, len(c.Drain))}
	for i, s := range c.Drain {
		d.Ladder[i] = drainStep{s.Community, s.Prepend, s.For.Seconds()}
	}
	return d
}

// targetStatus is one probed target.
type targetStatus struct {
	Service  string    `json:"service,omitempty"`
	Region   string    `json:"region,omitempty"`
	Name     string    `json:"name"`
	Protocol string    `json:"protocol,omitempty"`
	Address  string    `json:"address,omitempty"` // the service address at which a listener is asked
	Status   string    `json:"status"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason"`
	Error    string    `json:"error,omitempty"`
	RTTms    float64   `json:"rtt_ms,omitempty"`
}

func (e *edge) status() status {
	s := status{Edge: e.cfg.Edge.Name, Region: e.cfg.Edge.Region, Version: version, Started: e.started, Origins: []targetStatus{},
		Addresses: e.addresses.Status(), DiskCache: e.cache.DiskStatus(), Fleet: e.fleet.Status(), QUIC: e.front.RescueStatus(), Load: e.load.Snapshot()}
	if e.announcer != nil {
		s.Prefixes, s.Neighbors = e.announcer.Status(), e.speaker.Status()
		s.Drain = newDrainStatus(e.cfg.Anycast, e.announcer.Ordered())
	}
	for _, st := range e.monitor.Snapshot().All() {
		if st.ID.Self() {
			s.Listeners = append(s.Listeners, newTargetStatus(st))
		} else {
			s.Origins = append(s.Origins, newTargetStatus(st))
		}
	}
	return s
}

func newTargetStatus(st *health.State) targetStatus {
	t := targetStatus{Service: st.ID.Service, Region: st.ID.Region, Name: st.ID.Name, Protocol: string(st.ID.Protocol),
		Status: st.Status.String(), Since: st.Since, Reason: st.Reason.String(), RTTms: float64(st.RTT.Microseconds()) / 1000}
	if st.ID.Address.IsValid() {
		t.Address = st.ID.Address.String()
	}
	if st.Err != nil {
		t.Error = st.Err.Error()
	}
	return t
}

// healthy is /healthz: whether traffic should come here, in words. With anycast that is whether the routes are announced, and some
// neighbor has been sent each.
func (e *edge) healthy() (bool, string) {
	if e.announcer == nil {
		if err := e.front.Healthy(); err != nil {
			return false, err.Error()
		}
		return true, "serving"
	}
	return announced(e.announcer.Status(), e.speaker.Status())
}

// announced says whether every prefix is to be announced, and has been sent to a neighbor.
func announced(prefixes []bgp.PrefixStatus, neighbors []bgp.NeighborStatus) (bool, string) {
	if len(prefixes) == 0 {
		return false, "starting"
	}
	for _, p := range prefixes {
		if p.Level < bgp.LevelDegraded {
			return false, strings.TrimSpace(fmt.Sprintf("%s is %s: %s %s", p.Prefix, p.Level, p.Reason, p.Detail))
		}
		if !sentToAny(neighbors, p.Prefix) {
			return false, fmt.Sprintf("%s has been sent to no neighbor: %s", p.Prefix, sessions(neighbors))
		}
	}
	return true, "serving"
}

// sessions says how each neighbor's session stands.
func sessions(neighbors []bgp.NeighborStatus) string {
	words := make([]string, len(neighbors))
	for i, n := range neighbors {
		words[i] = fmt.Sprintf("%s is %s", n.Address, n.State)
		if n.LastDown != "" {
			words[i] += " (" + n.LastDown + ")"
		}
	}
	return strings.Join(words, ", ")
}
