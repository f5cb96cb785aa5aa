package main

import (
	"context"
	"net/netip"
	"os"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/health"
	"nearcast/internal/loopback"
	"nearcast/proxy/front"
)

// prepareAddresses puts the service addresses on the loopback interface where that is ours to do, so that listeners can have them, and
// says what it finds wrong with the host.
func (e *edge) prepareAddresses(set *metrics.Set) error {
	a := e.cfg.Anycast
	if len(a.Addresses) > 0 {
		all, err := loopback.Open(a.Addresses, a.ManageAddresses, e.log, set)
		if err != nil {
			return err
		}
		if err := all.Prepare(); err != nil {
			all.Undo()
			return err
		}
		e.addresses = all
	}
	var neighbors []netip.Addr
	for _, n := range a.BGP.Neighbors {
		neighbors = append(neighbors, n.Address)
	}
	ipv4 := false
	for _, p := range a.Prefixes {
		ipv4 = ipv4 || p.Addr().Is4()
	}
	for _, f := range loopback.CheckHost(os.DirFS("/proc/sys"), loopback.Interfaces(neighbors), ipv4) {
		e.log.Log(context.Background(), f.Level, f.Text)
	}
	return nil
}

// selfTargets are the edge's questions to itself, one for each listener and protocol, and for each service address that the listener takes.
// Only the routes hang on them.
func (e *edge) selfTargets() []health.Target {
	a := e.cfg.Anycast
	if a == nil {
		return nil
	}
	cfg := health.Config{Interval: a.SelfProbe.Interval, Timeout: 2*a.SelfProbe.Timeout + e.cfg.Shutdown.Pause, Rise: a.Rise.Consecutive, Fall: a.Fall.Consecutive}
	var out []health.Target
	for _, l := range e.front.Listeners() {
		at := serviceAddresses(l, a.Addresses)
		for _, p := range l.Protocols {
			probe := health.SelfProbe{Protocol: health.Protocol(p.String()), Address: l.Address.String(), TLS: l.TLS, Token: e.token, Proxies: l.Proxies}
			if len(at) == 0 {
				if own := l.Address.Addr().Unmap(); !own.IsLinkLocalUnicast() { // which are not reached from there
					probe.Source = loopbackOf(own)
				}
				out = append(out, health.Target{ID: health.ID{Name: l.Name, Protocol: probe.Protocol}, Probe: e.pauses.spare(probe.Probe, a.SelfProbe.Timeout), Config: cfg})
			}
			for _, addr := range at {
				probe.Address, probe.Source = netip.AddrPortFrom(addr, l.Address.Port()).String(), loopbackOf(addr)
				out = append(out, health.Target{ID: health.ID{Name: l.Name, Protocol: probe.Protocol, Address: addr}, Probe: e.pauses.spare(probe.Probe, a.SelfProbe.Timeout), Config: cfg})
			}
		}
	}
	return out
}

// serviceAddresses are those of all that a listener takes connections to.
func serviceAddresses(l front.Listener, all []netip.Addr) (taken []netip.Addr) {
	for _, a := range all {
		if front.Takes(l.Name, a) {
			taken = append(taken, a)
		}
	}
	return taken
}

// loopbackOf is the loopback address of an address's family.
func loopbackOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
