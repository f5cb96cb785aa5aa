package lab

import (
	"fmt"
	"slices"
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
		bound(returning()...), {Metric: survival.Forwarded, AtLeast: 1, Of: quicClients()},
	}
}

// bound is what the gate asks of a client that must come back, on whatever machine.
func bound(clients ...string) survival.Target {
	return survival.Target{Metric: survival.Gap, AtMost: 1500, Of: clients}
}

// dead are the targets of an edge that is gone. What is under way with it cannot be saved: Chromium repeats it, others say that it failed. What Chromium
// sends in the very moment of the reset it may not repeat, which is a matter of luck and none of the gate's.
func dead() []survival.Target {
	return []survival.Target{inTime(survival.Failed, 0, "chromium"), inTime(survival.Gap, 500*time.Millisecond, "chromium"), bound(returning()...)}
}

// unharmed is kept in words.
func unharmed(way time.Duration) string {
	return fmt.Sprintf("no request fails, no connection is begun, a gap of at most the round trip of %d ms and 50 ms beyond the interval and the request's own time", way.Milliseconds())
}

// back is dead in words.
const back = "Chromium fails no request and waits at most 0.5 s, every client that comes back at all does within 1.5 s; others may lose what is under way with the edge"

// orderly is the target of an edge that leaves as it should. A request that has no end is not waited for.
func orderly() []survival.Target { return []survival.Target{noneOf(survival.Failed, returning()...)} }

// atLeast is a target that shows that something happened.
func atLeast(m survival.Metric, least float64, clients ...string) survival.Target {
	return survival.Target{Metric: m, AtLeast: least, Of: clients}
}

// cheap is what sending a datagram on may cost. A few would say nothing.
func cheap() []survival.Target {
	const most = 10 // µs
	return []survival.Target{
		{Metric: survival.Sender, AtMost: most, Of: []string{cpuClient}, Timed: true}, {Metric: survival.Owner, AtMost: most, Of: []string{cpuClient}, Timed: true},
		atLeast(survival.Datagrams, 1000, cpuClient),
	}
}
