package health

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func exposed(set *metrics.Set) string {
	var b strings.Builder
	set.WritePrometheus(&b)
	return b.String()
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := metrics.NewSet()
		m := New(nil, set)
		declared := []Target{
			{ID: ID{Service: "shop", Region: "fra", Name: "http://10.0.0.1:80"}, Probe: func(context.Context) (time.Duration, error) {
				return 25 * time.Millisecond, nil
			}},
			{ID: ID{Name: ":443", Protocol: H3}, Config: Config{Interval: 2 * time.Second}, Probe: func(context.Context) (time.Duration, error) {
				return 0, &Error{ReasonCertificate, errors.New("expired")}
			}},
		}
		at := ID{Name: ":443", Protocol: H3, Address: netip.MustParseAddr("2001:db8:53::1")}
		m.SetTargets(append([]Target{{ID: at}}, declared...))
		if want := `nearcast_self_probe_up{listener=":443",protocol="h3",address="2001:db8:53::1"} 0`; !strings.Contains(exposed(set), want+"\n") {
			t.Errorf("the listener at a service address has no line %q", want)
		}
		if got := at.String(); got != "listener :443 at 2001:db8:53::1 over h3" {
			t.Error(got)
		}
		m.SetTargets(declared)
		want := func(why string, lines ...string) {
			t.Helper()
			got := exposed(set)
			for _, l := range lines {
				if !strings.Contains(got, l+"\n") {
					t.Errorf("%s: no line %q in\n%s", why, l, got)
				}
			}
		}
		want("before the first probe",
			`nearcast_origin_up{service="shop",region="fra",origin="http://10.0.0.1:80"} 0`,
			`nearcast_origin_rtt_seconds{service="shop",region="fra",origin="http://10.0.0.1:80"} 0`,
			`nearcast_health_probes_total{service="shop",region="fra",origin="http://10.0.0.1:80",reason="connection refused"} 0`,
			`nearcast_self_probe_up{listener=":443",protocol="h3"} 0`)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		want("after four seconds",
			`nearcast_origin_up{service="shop",region="fra",origin="http://10.0.0.1:80"} 1`,
			`nearcast_origin_rtt_seconds{service="shop",region="fra",origin="http://10.0.0.1:80"} 0.025`,
			`nearcast_health_probes_total{service="shop",region="fra",origin="http://10.0.0.1:80",reason="ok"} 4`,
			`nearcast_self_probe_up{listener=":443",protocol="h3"} 0`,
			`nearcast_self_probes_total{listener=":443",protocol="h3",reason="certificate not valid"} 2`)
		m.SetTargets(nil)
		if got := exposed(set); got != "" {
			t.Errorf("metrics of targets that are declared no more:\n%s", got)
		}
	})
}

func TestEveryMetricHasHelp(t *testing.T) {
	set := metrics.NewSet()
	New(nil, set).SetTargets([]Target{{ID: ID{Service: "s", Name: "o"}}, {ID: ID{Name: ":443", Protocol: H1}}})
	names := map[string]bool{}
	for _, n := range set.ListMetricNames() {
		name, _, _ := strings.Cut(n, "{")
		names[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range MetricHelp {
		if !names[name] {
			t.Errorf("help for %s, which is not registered", name)
		}
	}
}

func TestLabelValuesAreEscaped(t *testing.T) {
	set := metrics.NewSet()
	New(nil, set).SetTargets([]Target{{ID: ID{Service: "a\"b\\c\nd,e}f{g", Region: "ü", Name: "http://[::1]:80"}}})
	if got, want := exposed(set), `service="a\"b\\c\nd,e}f{g",region="ü",origin="http://[::1]:80"`; !strings.Contains(got, want) {
		t.Errorf("no %s in\n%s", want, got)
	}
}
