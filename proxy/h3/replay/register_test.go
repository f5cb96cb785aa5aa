package replay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestATicketIsGoodOnce(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		why   string
		since time.Time
		made  time.Time
		uses  []time.Duration // after start
		want  []Verdict
	}{
		{"once", time.Time{}, start, []time.Duration{0, 1, time.Minute, hour - 1}, []Verdict{Accepted, Used, Used, Used}},
		{"until it is too old", time.Time{}, start, []time.Duration{hour}, []Verdict{Old}},
		{"late, and not again", time.Time{}, start, []time.Duration{hour - 1, hour - 1, hour}, []Verdict{Accepted, Used, Old}},
		{"of a clock that is a bit ahead", time.Time{}, start.Add(Skew), []time.Duration{0, 0, hour, hour + Skew - 1, hour + Skew}, []Verdict{Accepted, Used, Used, Used, Old}},
		{"not of one that is far ahead", time.Time{}, start.Add(Skew + 1), []time.Duration{0, 1}, []Verdict{Old, Accepted}},
		{"of unknown age", time.Time{}, time.Time{}, []time.Duration{0}, []Verdict{Old}},
		{"older than the process", start, start.Add(Skew - 1), []time.Duration{Skew, time.Minute}, []Verdict{Old, Old}},
		{"as old as the process", start, start.Add(Skew), []time.Duration{Skew, time.Minute}, []Verdict{Accepted, Used}},
		{"a clock that is set back makes nothing young again", time.Time{}, start, []time.Duration{0, 3 * hour, 1}, []Verdict{Accepted, Old, Old}},
	} {
		r := New(Config{MaxAge: hour, Since: c.since})
		for i, after := range c.uses {
			if v := r.Use(r.Ticket([]byte("ticket"), c.made), start.Add(after)); v != c.want[i] {
				t.Errorf("%s: use %d: %v, want %v", c.why, i, v, c.want[i])
			}
		}
	}
}

func TestTicketsAreToldApart(t *testing.T) {
	r := New(Config{})
	for i := range 1000 {
		if v := r.Use(r.Ticket(fmt.Append(nil, i), start), start); v != Accepted {
			t.Fatalf("ticket %d: %v", i, v)
		}
	}
	if n := r.size(); n != 1000 {
		t.Errorf("%d are remembered", n)
	}
}

// TestNoUseIsForgottenTooEarly: at random times, across generations, no ticket is ever accepted a second time.
func TestNoUseIsForgottenTooEarly(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := New(Config{MaxAge: time.Minute})
	type ticket struct {
		id   []byte
		made time.Time
		used bool
	}
	var tickets []*ticket
	accepted := 0
	now := start
	for i := range 20000 {
		now = now.Add(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
		if rnd.IntN(2000) == 0 {
			now = now.Add(time.Duration(rnd.IntN(150)) * time.Second) // a quiet while
		}
		if i%3 == 0 {
			tickets = append(tickets, &ticket{id: fmt.Append(nil, i), made: now.Add(time.Duration(rnd.IntN(3000)-1500) * time.Millisecond)})
		}
		x := tickets[len(tickets)-1-rnd.IntN(min(len(tickets), 400))]
		v := r.Use(r.Ticket(x.id, x.made), now)
		switch {
		case v == Accepted && x.used:
			t.Fatalf("a ticket of %v was accepted twice, the second time at %v", x.made, now)
		case v == Used && !x.used, v == Full:
			t.Fatalf("a ticket that is new: %v", v)
		case v == Accepted:
			x.used = true
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d were accepted", accepted)
	}
}

func TestARegisterIsBounded(t *testing.T) {
	set := metrics.NewSet()
	r := New(Config{MaxAge: time.Minute, Metrics: set})
	r.most = 3
	life := time.Minute + Skew
	for i, want := range []Verdict{Accepted, Accepted, Accepted, Full, Full} {
		if v := r.Use(r.Ticket(fmt.Append(nil, i), start), start); v != want {
			t.Errorf("ticket %d: %v, want %v", i, v, want)
		}
	}
	if v := r.Use(r.Ticket([]byte("0"), start), start); v != Used {
		t.Errorf("one that is known, when it is full: %v", v)
	}
	for g := 1; g <= 3; g++ { // each generation has room of its own, and there are never more than two
		now := start.Add(time.Duration(g) * life)
		for i := range 4 {
			r.Use(r.Ticket(fmt.Append(nil, g, i), now), now)
		}
		if n := r.size(); n != 6 {
			t.Errorf("generation %d: %d are remembered", g, n)
		}
	}
	now := start.Add(10 * life)
	r.Use(r.Ticket([]byte("x"), now), now)
	if n := r.size(); n != 1 {
		t.Errorf("after a long silence %d are remembered", n)
	}
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for _, line := range []string{`nearcast_early_data_connections_total{result="full"} 5`, `nearcast_early_data_connections_total{result="used"} 1`, "nearcast_early_data_tickets 1"} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
	for _, name := range set.ListMetricNames() {
		family, _, _ := strings.Cut(name, "{")
		if MetricHelp[family] == "" {
			t.Errorf("%s has no help", family)
		}
	}
}

func TestOfManyAtOnceOneIsAccepted(t *testing.T) {
	r := New(Config{})
	var accepted atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if r.Use(r.Ticket([]byte("ticket"), start), start) == Accepted {
				accepted.Add(1)
			}
		})
	}
	all.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d were accepted", n)
	}
}

func BenchmarkUse(b *testing.B) {
	r := New(Config{})
	id := make([]byte, 256)
	for i := range b.N {
		id[0], id[1], id[2] = byte(i), byte(i>>8), byte(i>>16)
		r.Use(r.Ticket(id, start), start)
	}
}
