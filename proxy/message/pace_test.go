package message

import (
	"testing"
	"time"
)

func TestPaceGivesTimeForWhatHasMoved(t *testing.T) {
	now := time.Unix(1000, 0)
	p := Pace{Grace: 10 * time.Second, Rate: 100}
	for _, c := range []struct {
		waited time.Duration
		n      int64
		want   time.Duration
		why    string
	}{
		{0, 0, 10 * time.Second, "the grace is all there is at first"},
		{8 * time.Second, 0, 2 * time.Second, "what was waited is gone"},
		{8 * time.Second, 300, 5 * time.Second, "each Rate bytes earn a second"},
		{12 * time.Second, 50, -2 * time.Second, "a trickle is out of time"},
		{0, 1 << 40, 10 * time.Second, "credit never makes one wait longer than the grace"},
	} {
		if got := p.Deadline(now, c.waited, c.n).Sub(now); got != c.want {
			t.Errorf("waited %v for %d bytes: %v left, want %v: %s", c.waited, c.n, got, c.want, c.why)
		}
	}
	if !(Pace{}).Deadline(now, time.Hour, 0).IsZero() {
		t.Error("without a grace there is no limit")
	}
}
