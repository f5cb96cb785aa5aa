package health

import (
	"testing"
	"time"
)

func TestStreak(t *testing.T) {
	const rise, fall = 2, 3
	tests := []struct {
		why     string
		results string // + success, - failure
		want    Status
		changes int
	}{
		{"nothing is known before a probe", "", Unknown, 0},
		{"one success is too few to rise", "+", Unknown, 0},
		{"as many as rise bring it up", "++", Up, 1},
		{"one failure while unknown does not make it down", "-", Unknown, 0},
		{"as many as fall bring it down, from unknown too", "---", Down, 1},
		{"alternating results never bring it up", "+-+-+-+-", Unknown, 0},
		{"alternating results never bring it down", "+++-+-+-+-+-+-", Up, 1},
		{"failures that are not in a row do not add up", "++--+--+--+--", Up, 1},
		{"three in a row do", "++--+---", Down, 2},
		{"one success in an outage does not bring it back", "++---+-+-+", Down, 2},
		{"two do", "++---++", Up, 3},
		{"agreement changes nothing", "++++++++", Up, 1},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			var s Streak
			changes := 0
			for _, r := range tt.results {
				if s.Observe(r == '+', rise, fall) {
					changes++
				}
			}
			if s.Status() != tt.want || changes != tt.changes {
				t.Errorf("%q: %v after %d changes, want %v after %d", tt.results, s.Status(), changes, tt.want, tt.changes)
			}
		})
	}
}

func TestStreakConsecutive(t *testing.T) {
	var s Streak
	for _, r := range "++---" {
		s.Observe(r == '+', 2, 3)
	}
	if n, ok := s.Consecutive(); n != 3 || ok {
		t.Errorf("%d in a row, success %v; want 3 failures", n, ok)
	}
}

func TestRTTIsSmoothedAndTheLeastKept(t *testing.T) {
	var r rtt
	r.observe(0)
	if r.smoothed != 0 {
		t.Error("no measurement counted as one")
	}
	r.observe(80 * time.Millisecond)
	if r.smoothed != 80*time.Millisecond {
		t.Errorf("the first measurement makes %v, want it whole (RFC 6298 §2.2)", r.smoothed)
	}
	r.observe(160 * time.Millisecond)
	if r.smoothed != 90*time.Millisecond {
		t.Errorf("80ms then 160ms make %v, want 90ms: gain 1/8 (RFC 6298 §2.3)", r.smoothed)
	}
	r.observe(10 * time.Millisecond)
	if r.smoothed != 80*time.Millisecond || r.min != 10*time.Millisecond {
		t.Errorf("after 10ms: %v, least %v; want 80ms, 10ms", r.smoothed, r.min)
	}
}
