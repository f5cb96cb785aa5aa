package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

// streamClient makes one long request, of which its records are lines, and ends with its connection.
const streamClient = "ngtcp2"

// quicClients are the names of those that speak QUIC. The others, over TCP, are there for comparison: no target is theirs.
func quicClients() []string {
	return slices.DeleteFunc(allClients(), func(name string) bool { return name == "h2" || name == "chromium-h2" })
}

// returning are those of them that come back when a connection has ended.
func returning() []string {
	return slices.DeleteFunc(quicClients(), func(name string) bool { return name == streamClient })
}

// sending are the clients that go on sending. One that only receives falls silent when its port is forgotten, and nothing can reach it to say so.
func sending() []string {
	return slices.DeleteFunc(allClients(), func(name string) bool { return name == streamClient })
}

// allClients are the names of the clients, installed or not.
func allClients() []string {
	var names []string
	for _, c := range quicload.Clients() {
		names = append(names, c.Name())
	}
	return names
}

// noneOf is the target that the clients have none of it.
func noneOf(m survival.Metric, clients ...string) survival.Target {
	return survival.Target{Metric: m, Of: clients}
}

// inTime is a target that depends on how fast the machine is.
func inTime(m survival.Metric, most time.Duration, clients ...string) survival.Target {
	return survival.Target{Metric: m, AtMost: ms(most), Of: clients, Timed: true}
}

// kept are the targets of a connection that lives on at its edge while packets go another way: nothing fails, no connection is begun, and a
// request waits for a round trip and a loss at most. That an edge sent something on shows that there was a move.
func kept(way time.Duration) []survival.Target {
	return []survival.Target{
		noneOf(survival.Failed, quicClients()...), noneOf(survival.Renewed, quicClients()...), inTime(survival.Beyond, way+50*time.Millisecond, quicClients()...),
		bound(returning()...), {Metric: survival.Forwarded, AtLeast: 1, Of: []string{"quic-go"}},
	}
}

// bound is what the gate asks of a client that must come back, on whatever machine.
func bound(clients ...string) survival.Target {
	return survival.Target{Metric: survival.Gap, AtMost: 1500, Of: clients}
}

// dead are the targets of an edge that is gone. What is under way with it cannot be saved: Chromium repeats it, others say that it failed.
func dead() []survival.Target {
	return []survival.Target{noneOf(survival.Failed, "chromium"), inTime(survival.Gap, 500*time.Millisecond, "chromium"), bound(returning()...)}
}

// quicEvents are what is measured, in the order in which it is played.
func quicEvents() []quicEvent {
	near, far := roundTrip(quicRegion, away), roundTrip(quicRegion, farther)
	unharmed := fmt.Sprintf("no request fails, a gap of at most the round trip of %d ms and 50 ms beyond the interval and the request's own time", near.Milliseconds())
	back := "Chromium fails no request and waits at most 0.5 s, every client that comes back at all does within 1.5 s; others may lose what is under way with the edge"
	orderly := []survival.Target{noneOf(survival.Failed, returning()...)} // a request without an end is not waited for
	return []quicEvent{
		{Event: survival.Event{Name: "nothing", Does: "nothing", Holds: "no request fails, no connection is begun",
			Targets: []survival.Target{noneOf(survival.Failed, quicClients()...), noneOf(survival.Renewed, quicClients()...)}}, play: playStill},
		{Event: survival.Event{Name: "move", Does: "the route moves to fra while the edge in nyc lives on, and back", Holds: unharmed, Targets: kept(near)},
			play: playLed(away)},
		{Event: survival.Event{Name: "v6", Does: "the same over IPv6", Holds: unharmed, Targets: kept(near)}, service: Service6, play: playLed(away)},
		{Event: survival.Event{Name: "three", Does: "the route moves to fra, to tyo and home", Holds: fmt.Sprintf("the same, with the round trip of %d ms to tyo", far.Milliseconds()), Targets: kept(far)},
			play: playLed(away, farther)},
		{Event: survival.Event{Name: "flaps", Does: "16 moves, one a second", Holds: unharmed, Targets: kept(near)}, play: playToggled(16, time.Second)},
		{Event: survival.Event{Name: "spray", Does: "the route toggles every 15 ms for 6 s", Holds: unharmed, Targets: kept(near)}, play: playToggled(400, 15*time.Millisecond)},
		{Event: survival.Event{Name: "bulk", Does: "60 MB down and 60 MB up, and the route moves 300 ms after the start", Holds: "every octet arrives as it was sent", Clients: bulkClients(),
			Targets: []survival.Target{noneOf(survival.Failed, quicClients()...)}}, measure: measureBulk},
		{Event: survival.Event{Name: "kill", Does: "kill -9 of the edge; its session ends and the route moves to fra", Holds: back, Targets: dead()}, play: playKill, repair: buryEdge},
		{Event: survival.Event{Name: "blackhole", Does: "every packet of the edge is lost and the route moves at the same moment", Holds: back, Targets: dead()},
			play: playBlackHole, repair: buryEdge},
		{Event: survival.Event{Name: "resume", Does: "kill -9 of the edge", Holds: "at the other edge clients resume with requests that do not wait for the handshake (0-RTT)",
			Clients: returning(), Targets: []survival.Target{{Metric: survival.Early, AtLeast: 1, Of: returning()}}}, play: playKill, repair: buryEdge},
		{Event: survival.Event{Name: "drain", Does: "`nearcast drain`, and undrain while clients are in fra", Holds: "no request fails", Targets: orderly}, play: playDrained},
		{Event: survival.Event{Name: "stop", Does: "SIGTERM to the edge", Holds: "no request fails", Targets: orderly}, play: playStop, repair: awaitStopped},
		{Event: survival.Event{Name: "ecmp", Does: "two edges in nyc, one of which has all connections while the flows are spread over both, and is killed with -9", Holds: back, Targets: dead()},
			pairs: true, prepare: leadToFirst, play: playHalfDead, repair: buryEdge},
		{Event: survival.Event{Name: "ecmp-flip", Does: "two edges in nyc live on while the flows go to one, the other and both, and are spread by other fields", Holds: "no request fails, no connection is begun",
			Targets: kept(near)}, pairs: true, prepare: leadToFirst, play: playFlipped},
		{Event: survival.Event{Name: "rebind", Does: "every client gets another port 20 times, 250 ms apart", Holds: "no request fails, no connection is begun",
			Clients: sending(), Targets: append(kept(near)[:4], survival.Target{Metric: survival.Ports, AtLeast: 20, Of: returning()})}, play: playRebound},
		{Event: survival.Event{Name: "urpf", Does: "the edge is drained, and undrained; the router in nyc drops what it sends to clients itself while the route is away (strict reverse-path filtering)",
			Holds: "no request fails: replies take the tunnel", Targets: append(orderly[:1:1], bound(returning()...), survival.Target{Metric: survival.Returned, AtLeast: 1, Of: []string{"quic-go"}})},
			prepare: beStrict, play: playDrained},
		{Event: survival.Event{Name: "urpf-unaware", Does: "the same filter, as the route moves to fra and the edge is not told", Holds: unharmed, Targets: kept(near)}, prepare: beStrict, play: playLed(away)},
		{Event: survival.Event{Name: "partition", Does: "the route moves to fra, whose edge can send nothing to nyc's, which it hears", Holds: "fra resets what it cannot send on: as with an edge that died",
			Targets: []survival.Target{bound("chromium", "firefox"), noneOf(survival.Failed, "chromium")}}, play: playPartition},
		{Event: survival.Event{Name: "cpu", Does: "an even upload in datagrams of 1,200 octets, at home and through fra", Holds: "sending one on costs either edge at most 10 µs", Clients: []string{cpuClient},
			Targets: []survival.Target{{Metric: survival.Sender, AtMost: 10, Of: []string{cpuClient}, Timed: true}, {Metric: survival.Owner, AtMost: 10, Of: []string{cpuClient}, Timed: true},
				{Metric: survival.Datagrams, AtLeast: 1000, Of: []string{cpuClient}}}}, measure: measureCPU},
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
	if _, err := chooseQUICEvents(events); err != nil {
		return err
	}
	_, err := chooseClients(clients)
	return err
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
