package load

import (
	"testing"
	"time"
)

// letters of a level.
var letters = map[rune]Level{'?': Unknown, '.': OK, 'h': High, 'c': Critical}

func TestTracker(t *testing.T) {
	// Values: 0 to 9 are tenths, X is 1, u could not be read. One sample a second; high is 0.5, critical 0.9.
	for _, tt := range []struct {
		why          string
		rise, leave  time.Duration
		below        float64
		values, want string
	}{
		{"nothing is known before a sample", 0, 0, 1, "", ""},
		{"at once", 0, 0, 1, "04567", "..hhh"},
		{"straight to critical", 0, 0, 1, "09", ".c"},
		{"a level begins when its time is full", 3 * time.Second, 0, 1, "0555555", "....hhh"},
		{"alternating values never make a level", 3 * time.Second, 0, 1, "050505050505", "............"},
		{"values that are not in a row do not add up", 3 * time.Second, 0, 1, "0555055505550", "............."},
		{"what could not be read begins the count again", 3 * time.Second, 0, 1, "555u5555", "...?...h"},
		{"each level has a count of its own", 3 * time.Second, 0, 1, "55559999", "...hhhhc"},
		{"time at critical is time at high too", 3 * time.Second, 0, 1, "95559", "...hh"},
		{"it leaves below a share of the threshold alone", 0, 0, 0.8, "0554443", ".hhhhh."},
		{"and after its time", 0, 3 * time.Second, 0.8, "05333333", ".hhhh..."},
		{"one value above begins that count again", 0, 3 * time.Second, 0.8, "05333433333", ".hhhhhhhh.."},
		{"alternating values never end a level", 0, 3 * time.Second, 0.8, "053535353535", ".hhhhhhhhhhh"},
		{"from critical to high first", 0, 2 * time.Second, 0.8, "0966666", ".ccchhh"},
		{"from critical to the ground", 0, 2 * time.Second, 0.8, "0900000", ".ccc..."},
		{"unknown is no level, and begins at the beginning", 0, 10 * time.Second, 0.8, "09u0", ".c?."},
		{"a high load that turns critical for a moment", 2 * time.Second, 2 * time.Second, 0.8, "6666996666", "..hhhhhhhh"},
	} {
		th := thresholds{high: 0.5, critical: 0.9, rise: tt.rise, leave: Recover{Below: tt.below, For: tt.leave}}
		var tr tracker
		now, got := time.Unix(1e9, 0), ""
		for _, v := range tt.values {
			switch v {
			case 'u':
				tr.lose(now)
			case 'X':
				tr.observe(now, 1, &th)
			default:
				tr.observe(now, float64(v-'0')/10, &th)
			}
			for r, l := range letters {
				if l == tr.level {
					got += string(r)
				}
			}
			now = now.Add(time.Second)
		}
		if got != tt.want {
			t.Errorf("%s: %s makes %s, want %s", tt.why, tt.values, got, tt.want)
		}
	}
}

func TestTheLatestValueIsToldApartFromTheLevel(t *testing.T) {
	th := thresholds{high: 0.5, critical: 0.9, leave: Recover{Below: 0.8, For: time.Minute}}
	var tr tracker
	now := time.Unix(1e9, 0)
	for i, s := range []struct {
		v             float64
		level, latest Level
	}{{0.95, Critical, Critical}, {0.6, Critical, High}, {0.1, Critical, OK}} {
		tr.observe(now.Add(time.Duration(i)*time.Second), s.v, &th)
		if tr.level != s.level || tr.latest != s.latest || !tr.since.Equal(now) {
			t.Errorf("%v: %v, latest %v, since %v", s.v, tr.level, tr.latest, tr.since)
		}
	}
}

func TestAnIgnoredSignalIsNeverALoad(t *testing.T) {
	var tr tracker
	tr.observe(time.Unix(1e9, 0), 1, &thresholds{leave: Recover{Below: 0.9}})
	if tr.level != OK || tr.latest != OK {
		t.Errorf("%v, %v", tr.level, tr.latest)
	}
}
