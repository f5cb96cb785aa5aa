package proxy

import (
	"slices"
	"testing"
	"time"

	"nearcast/health"
)

const ms = time.Millisecond

func ranked(cs []candidate, turn uint32) []int {
	cs = slices.Clone(cs)
	rank(cs, turn)
	var out []int
	for _, c := range cs {
		out = append(out, c.origin)
	}
	return out
}

func TestRank(t *testing.T) {
	up := func(i int, region string, rtt, estimate time.Duration) candidate {
		return candidate{origin: i, region: region, status: health.Up, rtt: rtt, estimate: estimate}
	}
	for _, c := range []struct {
		why  string
		in   []candidate
		turn uint32
		want []int
	}{
		{"the least round-trip time first", []candidate{up(0, "nyc", 80*ms, 0), up(1, "fra", 2*ms, 0), up(2, "tyo", 230*ms, 0)}, 0, []int{1, 0, 2}},
		{"distance decides until there is a measurement", []candidate{up(0, "nyc", 0, 60*ms), up(1, "fra", 0, 1), up(2, "tyo", 0, 90*ms)}, 0, []int{1, 0, 2}},
		{"nothing is faster than light: a measurement below the estimate was of something nearer", []candidate{up(0, "nyc", ms, 60*ms), up(1, "fra", 2*ms, 1)}, 0, []int{1, 0}},
		{"a measurement stands beside an estimate", []candidate{up(0, "nyc", 80*ms, 60*ms), up(1, "tyo", 0, 70*ms)}, 0, []int{1, 0}},
		{"what nothing is known of comes last", []candidate{up(0, "a", 0, 0), up(1, "b", 300*ms, 0)}, 0, []int{1, 0}},
		{"a dead origin stands behind a far one", []candidate{
			{origin: 0, region: "fra", status: health.Down, rtt: 0, estimate: 1}, up(1, "tyo", 230*ms, 0)}, 0, []int{1, 0}},
		{"unknown is never up, but better than down", []candidate{
			{origin: 0, region: "fra", status: health.Down}, {origin: 1, region: "nyc", status: health.Unknown}, up(2, "tyo", 230*ms, 0)}, 0, []int{2, 1, 0}},
		{"a suspect stands behind a far healthy one, and before an unknown", []candidate{
			{origin: 0, region: "fra", status: health.Up, suspect: true, rtt: ms}, {origin: 1, region: "nyc"}, up(2, "tyo", 230*ms, 0)}, 0, []int{2, 0, 1}},
		{"in one region the origins take turns", []candidate{up(0, "fra", 1*ms, 0), up(1, "fra", 3*ms, 0), up(2, "nyc", 80*ms, 0)}, 1, []int{1, 0, 2}},
		{"and again", []candidate{up(0, "fra", 1*ms, 0), up(1, "fra", 3*ms, 0), up(2, "nyc", 80*ms, 0)}, 2, []int{0, 1, 2}},
		{"a region is as near as its nearest", []candidate{up(0, "nyc", 80*ms, 0), up(1, "fra", 200*ms, 0), up(2, "fra", 1*ms, 0)}, 0, []int{1, 2, 0}},
		{"no candidate", nil, 7, nil},
	} {
		if got := ranked(c.in, c.turn); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.why, got, c.want)
		}
	}
}

func TestSuspicionEnds(t *testing.T) {
	var s suspicion
	now := time.Unix(1000, 0)
	if s.active(now) {
		t.Error("nobody is suspect before a failure")
	}
	s.raise(now)
	if !s.active(now.Add(suspectFor-1)) || s.active(now.Add(suspectFor)) {
		t.Error("suspicion lasts suspectFor")
	}
	s.raise(now)
	if s.clear(); s.active(now) {
		t.Error("a success clears it")
	}
}
