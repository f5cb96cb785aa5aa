package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nearcast/bgp"
	"nearcast/cache"
	"nearcast/health"
	"nearcast/health/load"
	"nearcast/proxy/front"
)

// inputs are what the announcement is decided from.
func (e *edge) inputs() bgp.Inputs {
	snapshot := e.monitor.Snapshot()
	in := selfInputs(snapshot.Self())
	for _, name := range slices.Sorted(maps.Keys(e.cfg.Services)) {
		in.Services = append(in.Services, serviceHealth(name, e.cfg.Edge.Region, snapshot.Origins(name)))
	}
	if !in.Certificate.Known {
		in.Certificate = firstToExpire(e.front.Certificates(), time.Now())
	}
	st := e.load.Snapshot()
	in.Load, in.LoadDetail = loadLevel(st.Level), st.Detail
	in.DiskFault = diskFault(e.cache.DiskStatus())
	in.Others = e.others()
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

// firstToExpire is the certificate whose time is over first.
func firstToExpire(all []front.CertificateState, now time.Time) bgp.Certificate {
	if len(all) == 0 {
		return bgp.Certificate{}
	}
	c := slices.MinFunc(all, func(a, b front.CertificateState) int { return a.NotAfter.Compare(b.NotAfter) })
	return bgp.Certificate{Known: true, Left: c.NotAfter.Sub(now),
		Detail: fmt.Sprintf("%s (%s) is valid until %s", c.File, strings.Join(c.Names, ", "), c.NotAfter.UTC().Format(time.RFC3339))}
}

// loadLevel is a level as package bgp has it. Unknown is no load.
func loadLevel(l load.Level) bgp.LoadLevel {
	switch l {
	case load.High:
		return bgp.LoadHigh
	case load.Critical:
		return bgp.LoadCritical
	}
	return bgp.LoadOK
}

// diskFault says what the disk tier fails of, if it does.
func diskFault(d *cache.DiskStatus) string {
	if c := d.Condition(); c.Failing() {
		return strings.TrimRight(fmt.Sprintf("it is %s: %s", c, d.Error), ": ")
	}
	return ""
}
