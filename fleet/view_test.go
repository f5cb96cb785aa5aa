package fleet

import (
	"slices"
	"testing"
	"time"
)

// heard is a peer that answered at second at.
func heard(edge, instance string, at int) *Peer {
	return &Peer{Edge: edge, State: Heard, HeardAt: time.Unix(int64(at), 0), Report: &Report{Edge: edge, Instance: instance}}
}

// silent is a peer that answered at second at and does not any more; 0: it never has.
func silent(edge, instance string, at int) *Peer {
	p := &Peer{Edge: edge, State: Silent}
	if at > 0 {
		p.HeardAt, p.Report = time.Unix(int64(at), 0), &Report{Edge: edge, Instance: instance}
	}
	return p
}

func TestOthersAreEdgesNotAddresses(t *testing.T) {
	a, aLater, aNew := heard("a", "i", 1), heard("a", "i", 2), heard("a", "j", 3)
	aSilent, b, self, own := silent("a", "h", 9), heard("b", "k", 1), &Peer{State: Self}, heard("me", "l", 1)
	never, never2, unknown := silent("", "", 0), silent("", "", 0), &Peer{State: Unknown}
	for _, tt := range []struct {
		why        string
		view, want []*Peer
	}{
		{"nobody", nil, nil},
		{"two edges", []*Peer{a, b}, []*Peer{a, b}},
		{"two addresses of one", []*Peer{a, aLater, b}, []*Peer{aLater, b}},
		{"in either order", []*Peer{b, aLater, a}, []*Peer{b, aLater}},
		{"heard at one of its addresses", []*Peer{aSilent, a}, []*Peer{a}},
		{"in either order", []*Peer{a, aSilent}, []*Peer{a}},
		{"silent at both", []*Peer{silent("a", "h", 1), aSilent}, []*Peer{aSilent}},
		{"two processes with one name", []*Peer{a, aNew}, []*Peer{a, aNew}},
		{"ourselves, by two names", []*Peer{self, own, b}, []*Peer{b}},
		{"addresses that never answered are edges", []*Peer{never, never2, unknown}, []*Peer{never, never2, unknown}},
	} {
		if got := (&View{Peers: tt.view}).Others("me"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
	if (*View)(nil).Others("me") != nil {
		t.Error("a nil view has others")
	}
}

func TestHearsAndTwins(t *testing.T) {
	for _, tt := range []struct {
		why          string
		view         []*Peer
		hears, twins []string
	}{
		{"nobody", nil, nil, nil},
		{"sorted, once each, the silent and ourselves left out",
			[]*Peer{heard("c", "i", 1), heard("b", "j", 1), heard("c", "i", 2), silent("a", "k", 1), {State: Self}, {State: Unknown}}, []string{"b", "c"}, nil},
		{"twins", []*Peer{heard("b", "i", 1), heard("b", "j", 1)}, []string{"b"}, []string{"b"}},
		{"three of them, and an edge with our name", []*Peer{heard("b", "i", 1), heard("b", "j", 1), heard("b", "k", 1), heard("me", "l", 1)}, []string{"b"}, []string{"b", "me"}},
		{"the other is silent", []*Peer{heard("b", "i", 1), silent("b", "j", 1)}, []string{"b"}, nil},
	} {
		v := &View{Peers: tt.view}
		if got := v.hears("me"); !slices.Equal(got, tt.hears) {
			t.Errorf("%s: hears %v, want %v", tt.why, got, tt.hears)
		}
		if got := v.twins("me"); !slices.Equal(got, tt.twins) {
			t.Errorf("%s: twins %v, want %v", tt.why, got, tt.twins)
		}
	}
}

func TestOnlyWhatIsHeardCounts(t *testing.T) {
	report := &Report{Prefixes: []PrefixReport{{Prefix: v4, Level: LevelFull}}, Hears: []string{"me"}}
	for s := range stateCount {
		p := &Peer{State: s, Report: report}
		if got := p.Level(v4) == LevelFull; got != (s == Heard) {
			t.Errorf("%s: a level of full counts: %v", s, got)
		}
		if got := p.Hears("me"); got != (s == Heard) {
			t.Errorf("%s: hears us: %v", s, got)
		}
	}
	var none *Peer
	if none.Level(v4) != LevelUnknown || none.Hears("me") {
		t.Error("no peer has a level")
	}
}

func TestEveryStateAndOutcomeHasAName(t *testing.T) {
	seen := map[string]bool{}
	for s := range stateCount {
		seen["state "+s.String()] = true
	}
	for o := range outcomeCount {
		seen["outcome "+o.String()] = true
	}
	for l := LevelUnknown; l <= LevelFull; l++ {
		seen["level "+l.String()] = true
	}
	for _, r := range refusalNames {
		seen["refusal "+r] = true
	}
	if len(seen) != int(stateCount)+int(outcomeCount)+int(LevelFull)+1+int(numRefusals) || seen["state "] || seen["outcome "] || seen["refusal "] {
		t.Errorf("%v", seen)
	}
	if stateCount.String() != "unknown" || outcomeCount.String() != "unknown" || (LevelFull+1).String() != "unknown" {
		t.Error("what is out of range has a name")
	}
}
