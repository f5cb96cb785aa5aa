package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

// quicEvents are what is measured, in the order in which it is played.
func quicEvents() []quicEvent {
	return slices.Concat(movingEvents(), dyingEvents(), orderedEvents(), neighborEvents(), filteredEvents())
}

// movingEvents move the route while every edge lives on.
func movingEvents() []quicEvent {
	near, far := roundTrip(quicRegion, away), roundTrip(quicRegion, farther)
	still := []survival.Target{noneOf(survival.Failed, quicClients()...), noneOf(survival.Renewed, quicClients()...)}
	whole := []survival.Target{noneOf(survival.Failed, quicClients()...)}
	return []quicEvent{
		{Event: survival.Event{Name: "nothing", Does: "nothing", Holds: "no request fails, no connection is begun", Targets: still}, play: playStill},
		{Event: survival.Event{Name: "move", Does: "the route moves to fra while the edge in nyc lives on, and back", Holds: unharmed(near), Targets: kept(near)},
			play: playLed(away)},
		{Event: survival.Event{Name: "v6", Does: "the same over IPv6", Holds: unharmed(near), Targets: kept(near)}, service: Service6, play: playLed(away)},
		{Event: survival.Event{Name: "three", Does: "the route moves to fra, to tyo and home", Holds: unharmed(far), Targets: kept(far)}, play: playLed(away, farther)},
		{Event: survival.Event{Name: "flaps", Does: "16 moves, one a second", Holds: unharmed(near), Targets: kept(near)}, play: playToggled(16, time.Second)},
		{Event: survival.Event{Name: "spray", Does: "the route toggles every 15 ms for 6 s", Holds: unharmed(near), Targets: kept(near)}, play: playToggled(400, 15*time.Millisecond)},
		{Event: survival.Event{Name: "bulk", Does: "60 MB down and 60 MB up, and the route moves 100 ms after the start", Holds: "every octet arrives as it was sent",
			Clients: bulkClients(), Targets: whole}, measure: measureBulk},
		{Event: survival.Event{Name: "cpu", Does: "an even upload in datagrams of 1,200 octets, at home and through fra", Holds: "sending one on costs either edge at most 10 µs",
			Clients: []string{cpuClient}, Targets: cheap()}, measure: measureCPU},
	}
}

// dyingEvents end an edge without a word.
func dyingEvents() []quicEvent {
	return []quicEvent{
		{Event: survival.Event{Name: "kill", Does: "kill -9 of the edge; its session ends and the route moves to fra", Holds: back, Targets: dead()}, play: playKill, repair: buryEdge},
		{Event: survival.Event{Name: "blackhole", Does: "every packet of the edge is lost and the route moves at the same moment", Holds: back, Targets: dead()},
			play: playBlackHole, repair: buryEdge},
		{Event: survival.Event{Name: "resume", Does: "kill -9 of the edge", Holds: "at the other edge clients resume with requests that do not wait for the handshake (0-RTT)",
			Clients: returning(), Targets: []survival.Target{atLeast(survival.Early, 1, returning()...)}}, play: playKill, repair: buryEdge},
	}
}

// orderedEvents have an edge leave.
func orderedEvents() []quicEvent {
	return []quicEvent{
		{Event: survival.Event{Name: "drain", Does: "`nearcast drain`, and undrain while clients are in fra", Holds: "no request fails", Targets: orderly()}, play: playDrained},
		{Event: survival.Event{Name: "stop", Does: "SIGTERM to the edge", Holds: "no request fails", Targets: orderly()}, play: playStop, repair: awaitStopped},
	}
}

// neighborEvents are of two edges in a region, and of a client's own router.
func neighborEvents() []quicEvent {
	near := roundTrip(quicRegion, away)
	const same = "no request fails, no connection is begun"
	changed := append(slices.DeleteFunc(kept(near), func(t survival.Target) bool { return t.Metric == survival.Forwarded }), atLeast(survival.Ports, 20, returning()...))
	return []quicEvent{
		{Event: survival.Event{Name: "ecmp", Does: "two edges in nyc, one of which has all connections while the flows are spread over both, and is killed with -9", Holds: back, Targets: dead()},
			pairs: true, prepare: leadToFirst, play: playHalfDead, repair: buryEdge},
		{Event: survival.Event{Name: "ecmp-flip", Does: "two edges in nyc live on while the flows go to one, the other and both, and are spread by other fields", Holds: same, Targets: kept(near)},
			pairs: true, prepare: leadToFirst, play: playFlipped},
		{Event: survival.Event{Name: "rebind", Does: "every client gets another port 20 times, 250 ms apart", Holds: same, Clients: sending(), Targets: changed}, play: playRebound},
	}
}

// filteredEvents have a network that drops some of what edges send.
func filteredEvents() []quicEvent {
	tunnelled := slices.Concat(orderly(), []survival.Target{bound(returning()...), atLeast(survival.Returned, 1, quicClients()...)})
	return []quicEvent{
		{Event: survival.Event{Name: "urpf", Does: "drain and undrain, and while the route is away the router in nyc drops what the edge sends to clients itself (strict reverse-path filtering)",
			Holds: "no request fails: replies take the tunnel", Targets: tunnelled}, prepare: beStrict, play: playDrained},
		{Event: survival.Event{Name: "urpf-unaware", Does: "the same filter, as the route moves to fra and the edge is not told",
			Holds:   "no request fails, no connection is begun: replies take the tunnel once nobody acknowledges what is sent directly, within 1.5 s",
			Targets: append(tunnelled, noneOf(survival.Renewed, quicClients()...))}, prepare: beStrict, play: playLed(away)},
		{Event: survival.Event{Name: "partition", Does: "the route moves to fra, whose edge can send nothing to nyc's, which it hears", Holds: "fra resets what it cannot send on: as with an edge that died",
			Targets: []survival.Target{bound(returning()...), inTime(survival.Failed, 0, "chromium")}}, play: playPartition},
	}
}

// QUICEvents are what can be measured, in order.
func QUICEvents() []survival.Event {
	var all []survival.Event
	for _, e := range quicEvents() {
		all = append(all, e.Event)
	}
	return all
}

// CheckQUIC says whether all the names are of events and of clients that the machine has, before a lab is built for them.
func CheckQUIC(events, clients []string) error {
	those, err := chooseClients(clients)
	if err == nil {
		_, err = taking(events, those)
	}
	return err
}

// taking are the events of those names, or all, without those in which none of the clients takes part: to name one of these is an error.
func taking(only []string, clients []quicload.Client) ([]quicEvent, error) {
	chosen, err := chooseQUICEvents(only)
	if err != nil {
		return nil, err
	}
	var those []quicEvent
	for _, e := range chosen {
		switch {
		case len(among(clients, e)) > 0:
			those = append(those, e)
		case len(only) > 0:
			return nil, fmt.Errorf("none of these clients takes part in %s; %s", e.Name, strings.Join(e.Clients, ", ")+" do")
		}
	}
	return those, nil
}

func chooseQUICEvents(only []string) ([]quicEvent, error) {
	all := quicEvents()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []quicEvent
	for _, name := range only {
		i := slices.IndexFunc(all, func(e quicEvent) bool { return e.Name == name })
		if i < 0 {
			var names []string
			for _, e := range all {
				names = append(names, e.Name)
			}
			return nil, fmt.Errorf("no event of quic is called %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
