// Package survival says what clients have lived through: for each event of the lab and each client the longest time without an answer and the
// requests that failed, and whether that is as good as it must be.
package survival

import (
	"slices"
	"strings"

	"nearcast/internal/lab/figure"
)

// Metric is something that is measured of a client in a run. Not every event has every metric.
type Metric string

// The metrics. Times are in milliseconds, but Forwarding's.
const (
	Requests   Metric = "requests"           // of the run
	Failed     Metric = "failed"             // of those
	Gap        Metric = "gap"                // longest time from the event's last answer before it on in which no answer was completed
	Beyond     Metric = "gap_beyond"         // Gap less the interval of requests and the median time that one took before the event
	Renewed    Metric = "connections_begun"  // after the event
	Unanswered Metric = "unanswered"         // 1: the gap had not ended when the run did
	Early      Metric = "early_connections"  // begun after the event with requests that did not wait for the handshake (0-RTT)
	Took       Metric = "took"               // by the transfers
	Stall      Metric = "stall"              // longest time without progress in a transfer
	Ports      Metric = "ports"              // that the clients had, all clients
	OverTCP    Metric = "over_tcp"           // answers that a QUIC client got over TCP
	Stalled    Metric = "stalled"            // the longest time for which the machine let nothing of the lab run
	Forwarded  Metric = "forwarded"          // datagrams from edge to edge, all clients
	Returned   Metric = "returned"           // datagrams to clients that took the tunnel, all clients
	Resets     Metric = "resets"             // stateless resets sent by edges, all clients
	Sender     Metric = "forwarding_sender"  // microseconds of CPU for a datagram at the edge that sends it on
	Owner      Metric = "forwarding_owner"   // the same at the edge that has the connection
	Network    Metric = "plain_sender"       // microseconds of CPU to send such a datagram and do nothing else, in the lab's network
	Datagrams  Metric = "measured_datagrams" // that those two are of
)

// facts are what is to be known of a metric, in the order in which those without a column are named.
var facts = []struct {
	metric Metric
	title  string
	unit   figure.Unit
	aside  bool // named beside the table; the cells of the table have Gap, Failed, Requests and Renewed
}{
	{Requests, "requests", figure.Count, false},
	{Failed, "failed", figure.Count, false},
	{Gap, "gap", figure.Milliseconds, false},
	{Beyond, "gap beyond interval and request", figure.Milliseconds, false},
	{Renewed, "connections begun", figure.Count, false},
	{Unanswered, "unanswered at the end", figure.Count, false},
	{Early, "connections begun with 0-RTT", figure.Count, true},
	{Took, "took", figure.Milliseconds, false},
	{Stall, "longest stall", figure.Milliseconds, true},
	{Ports, "ports of all clients", figure.Count, true},
	{OverTCP, "answers over TCP", figure.Count, true},
	{Stalled, "the machine stood still for", figure.Milliseconds, true},
	{Forwarded, "datagrams forwarded", figure.Count, true},
	{Returned, "datagrams returned through the tunnel", figure.Count, true},
	{Resets, "stateless resets", figure.Count, true},
	{Sender, "CPU to send a datagram on", figure.Microseconds, true},
	{Owner, "CPU to take one that was sent on", figure.Microseconds, true},
	{Network, "CPU to send one at all here", figure.Microseconds, true},
	{Datagrams, "datagrams measured", figure.Count, true},
}

// Title is the metric in words.
func (m Metric) Title() string {
	if i := m.index(); i >= 0 {
		return facts[i].title
	}
	return string(m)
}

// Format writes a value of the metric with its unit.
func (m Metric) Format(v float64) string {
	if i := m.index(); i >= 0 {
		return facts[i].unit.Format(v)
	}
	return figure.Count.Format(v)
}

func (m Metric) index() int {
	for i, f := range facts {
		if f.metric == m {
			return i
		}
	}
	return -1
}

// Sample is what one run showed of one client. What was not measured is not in it.
type Sample map[Metric]float64

// Event is something that happens to a region, and what must come of it.
type Event struct {
	Name    string
	Does    string // what is done
	Holds   string // what must hold, in words
	Clients []string
	Targets []Target
}

// Has reports whether the client takes part. Without a list all do.
func (e Event) Has(client string) bool {
	return len(e.Clients) == 0 || slices.Contains(e.Clients, client)
}

// Target bounds a metric of some clients.
type Target struct {
	Metric  Metric
	AtMost  float64  // the 95th percentile
	AtLeast float64  // the least; instead of AtMost when it is not zero
	Of      []string // the clients that must meet it
	Timed   bool     // depends on how fast the machine is, so that it is for measurements only
}

// String is the target in words.
func (t Target) String() string { return t.bound().Words(t.Metric.Title(), t.Metric.Format) }

func (t Target) bound() figure.Bound { return figure.Bound{AtMost: t.AtMost, AtLeast: t.AtLeast} }

// Run is one client's part in one time that an event was played.
type Run struct {
	Event, Client string
	Sample        Sample
	Lost          string // of the requests that failed the first, in words
	Err           error  // why there is no whole sample, or what must not have happened besides the targets
}

// notes are what is to be said of the run besides its figures.
func (r Run) notes() []string {
	var notes []string
	if r.Err != nil {
		notes = append(notes, oneLine(r.Err))
	}
	if r.Lost != "" {
		notes = append(notes, r.Lost)
	}
	return notes
}

// Verdict is what became of a target with a client.
type Verdict struct {
	Target Target
	Client string
	figure.Outcome
}

// String is the verdict with its figure.
func (v Verdict) String() string { return v.Words(v.Target.String(), v.Target.Metric.Format) }

// Judge says what the client's runs make of the target.
func (t Target) Judge(client string, runs []Run) Verdict {
	return Verdict{t, client, t.bound().Judge(valuesOf(runs, t.Metric))}
}

func valuesOf(runs []Run, m Metric) []float64 {
	var values []float64
	for _, r := range runs {
		if v, ok := r.Sample[m]; ok {
			values = append(values, v)
		}
	}
	return values
}

func total(runs []Run, m Metric) float64 {
	sum := 0.0
	for _, v := range valuesOf(runs, m) {
		sum += v
	}
	return sum
}

// oneLine is an error for a place with room for a line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
