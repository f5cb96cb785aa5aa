package fleet

import (
	"net/netip"
	"time"
)

// Status is what the operator is shown.
type Status struct {
	Address  string       `json:"address"`
	Instance string       `json:"instance"`
	Says     *Report      `json:"says"` // what a question is answered with now
	Edges    []PeerStatus `json:"edges"`
}

// PeerStatus is one address of another edge.
type PeerStatus struct {
	Address  netip.AddrPort `json:"address"`
	Region   string         `json:"region"`
	Edge     string         `json:"edge,omitempty"`
	State    State          `json:"state"`
	Since    time.Time      `json:"since"`
	HeardAt  *time.Time     `json:"heard_at,omitempty"`
	HearsUs  bool           `json:"hears_us"`
	RTTms    float64        `json:"rtt_ms,omitempty"`
	Result   string         `json:"result"` // of the latest question
	Failures int            `json:"failures,omitempty"`
	Error    string         `json:"error,omitempty"`
	Says     *Report        `json:"says,omitempty"` // the latest that it said, at heard_at
}

// Status returns what is known, and what is said; nil for a nil Fleet.
func (f *Fleet) Status() *Status {
	if f == nil {
		return nil
	}
	s := &Status{Address: f.Addr().String(), Instance: f.instance, Says: f.report(time.Now()), Edges: []PeerStatus{}}
	for _, p := range f.View().Peers {
		st := PeerStatus{Address: p.Address, Region: p.Region, Edge: p.Edge, State: p.State, Since: p.Since, HearsUs: p.Hears(f.self.Edge),
			RTTms: float64(p.RTT.Microseconds()) / 1000, Result: p.Outcome.String(), Failures: p.Failures, Says: p.Report}
		if !p.HeardAt.IsZero() {
			st.HeardAt = &p.HeardAt
		}
		if p.Err != nil {
			st.Error = p.Err.Error()
		}
		s.Edges = append(s.Edges, st)
	}
	return s
}
