package health

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp describes the metrics of this package.
var MetricHelp = map[string]string{
	"nearcast_health_probes_total": "Probes of origins, by how they ended.",
	"nearcast_origin_up":           "1 while the origin is up, 0 while it is down or unknown.",
	"nearcast_origin_rtt_seconds":  "Smoothed time of a TCP connection set-up to the origin; 0 while there is no measurement.",
	"nearcast_self_probes_total":   "Probes of the edge's own listeners, by how they ended.",
	"nearcast_self_probe_up":       "1 while the edge's own listener answers over the protocol, 0 while it does not or is unknown.",
}

// targetMetrics are the metrics of one target, registered as long as the target is declared.
type targetMetrics struct {
	names []string

	up  atomic.Bool
	rtt atomic.Int64 // nanoseconds

	probes [reasonCount]*metrics.Counter
}

func newTargetMetrics(set *metrics.Set, id ID) *targetMetrics {
	t := &targetMetrics{}
	probes, up, where := "nearcast_health_probes_total", "nearcast_origin_up",
		labels("service", id.Service, "region", id.Region, "origin", id.Name)
	if id.Self() {
		probes, up, where = "nearcast_self_probes_total", "nearcast_self_probe_up",
			labels("listener", id.Name, "protocol", string(id.Protocol))
		if id.Address.IsValid() {
			where += "," + labels("address", id.Address.String())
		}
	} else {
		t.gauge(set, "nearcast_origin_rtt_seconds{"+where+"}", func() float64 { return time.Duration(t.rtt.Load()).Seconds() })
	}
	t.gauge(set, up+"{"+where+"}", func() float64 {
		if t.up.Load() {
			return 1
		}
		return 0
	})
	for r := ReasonOK; r < reasonCount; r++ {
		if r == ReasonNotSelf && !id.Self() {
			r = ReasonOther
		}
		name := probes + "{" + where + "," + labels("reason", r.String()) + "}"
		t.names = append(t.names, name)
		t.probes[r] = set.GetOrCreateCounter(name)
	}
	return t
}

func (t *targetMetrics) gauge(set *metrics.Set, name string, f func() float64) {
	t.names = append(t.names, name)
	set.GetOrCreateGauge(name, f)
}

func (t *targetMetrics) observe(st *State) {
	t.up.Store(st.Up())
	t.rtt.Store(int64(st.RTT))
	if c := t.probes[st.Reason]; c != nil {
		c.Inc()
	}
}

func (t *targetMetrics) unregister(set *metrics.Set) {
	for _, name := range t.names {
		set.UnregisterMetric(name)
	}
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labels writes pairs of names and values as the Prometheus text format does.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i] + `="` + labelEscaper.Replace(pairs[i+1]) + `"`)
	}
	return b.String()
}
