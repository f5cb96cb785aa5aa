package h3

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func TestEveryMetricHasHelp(t *testing.T) {
	set := metrics.NewSet()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	startOn(t, []*net.UDPConn{udp}, ok, Config{Metrics: set, Name: ":443"})
	var b strings.Builder
	set.WritePrometheus(&b)
	seen := map[string]bool{}
	for _, name := range regexp.MustCompile(`(?m)^[a-z0-9_]+`).FindAllString(b.String(), -1) {
		seen[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range MetricHelp {
		if !seen[name] {
			t.Errorf("%s is explained but does not exist", name)
		}
	}
	for _, want := range []string{`nearcast_quic_sockets{listener=":443"} 1`, `nearcast_quic_generations{listener=":443"} 1`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}
