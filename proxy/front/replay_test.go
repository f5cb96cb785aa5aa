package front

import (
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/replay"
)

// TestTicketsOlderThanTheProcess: which of them were used here is not known where other edges' keys read them; alone, there are none.
func TestTicketsOlderThanTheProcess(t *testing.T) {
	for _, c := range []struct {
		why   string
		early bool
		keys  func() *keys.Ring
		want  replay.Verdict
	}{
		{"alone", true, nil, replay.Accepted},
		{"in a fleet", true, func() *keys.Ring { return nil }, replay.Old},
		{"without early data", false, nil, 0},
	} {
		f := &Front{fleet: Fleet{Keys: c.keys}, m: newFrontMetrics(metrics.NewSet(), func() int64 { return 0 }, func() int { return 0 })}
		r := f.replayRegister(&TLSConfig{EarlyData: c.early, EarlyDataMaxAge: time.Hour})
		if (r != nil) != c.early {
			t.Fatalf("%s: a register: %t", c.why, r != nil)
		}
		if r == nil {
			continue
		}
		now := time.Now()
		if v := r.Use(r.Ticket([]byte("x"), now.Add(-time.Second)), now); v != c.want {
			t.Errorf("%s: %v, want %v", c.why, v, c.want)
		}
	}
}
