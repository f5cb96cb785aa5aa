package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"nearcast/bgp"
	"nearcast/health"
)

// inputs are what the announcement is decided from.
func (e *edge) inputs() bgp.Inputs {
	snapshot := e.monitor.Snapshot()
	in := selfInputs(snapshot.Self())
	for _, name := range slices.Sorted(maps.Keys(e.cfg.Services)) {
		in.Services = append(in.Services, serviceHealth(name, e.cfg.Edge.Region, snapshot.Origins(name)))
	}
	if e.speaker != nil {
		in.Others.Seen = e.speaker.View().Seen(e.cfg.Anycast.Prefixes)
	}
	return in
}

// selfInputs are the edge's own probes. A certificate that has run out is not the edge's failing to answer: every region may have the
// same one, so it is judged like everything else that all may lack.
func selfInputs(self []*health.State) bgp.Inputs {
	in := bgp.Inputs{Self: bgp.SelfOK}
	if len(self) == 0 {
		in.Self = bgp.SelfUnknown
	}
	for i, st := range self {
		switch {
		case st.Status == health.Down && st.Reason == health.ReasonCertificate:
			in.Certificate = bgp.Certificate{Known: true, Left: -time.Second, Detail: fmt.Sprintf("%s: %s", st.ID, st.Err)}
		case st.Status == health.Down:
			in.Self = bgp.SelfFailing
			in.SelfDetail = fmt.Sprintf("%s: %s", st.ID, st.Reason)
		case st.Status == health.Unknown && in.Self == bgp.SelfOK:
			in.Self = bgp.SelfUnknown
		}
		if i == 0 || st.At.Before(in.SelfAt) {
			in.SelfAt = st.At
		}
	}
	return in
}

// serviceHealth counts a service's origins.
func serviceHealth(name, region string, origins []*health.State) bgp.ServiceHealth {
	h := bgp.ServiceHealth{Name: name}
	for _, st := range origins {
		switch {
		case st.Up() && st.ID.Region == region:
			h.Healthy++
			h.HealthyRegional++
		case st.Up():
			h.Healthy++
		case st.Status == health.Unknown:
			h.Unprobed++
		}
	}
	return h
}
