package fleet

import (
	"net/netip"
	"slices"
	"time"
)

// Report is what an edge says of itself. Every time in it is a duration, so that no two clocks are ever compared.
//
// Draining, Load, Prefixes and Intents are the edge's to say, with Publish; all the rest is filled in when a question is answered.
type Report struct {
	// Version is that of the report. A later one has fields that an earlier one has not.
	Version int `json:"version"`

	Edge     string `json:"edge"`
	Region   string `json:"region"`
	Software string `json:"software"` // version of the program
	Instance string `json:"instance"` // random for each process
	// Sequence counts what this process has published, from 1.
	Sequence uint64 `json:"sequence"`

	Uptime time.Duration `json:"uptime_ns"` // of the process
	// Age is how long ago the edge published this. An edge that publishes regularly and has not for long is stuck, though it answers.
	Age time.Duration `json:"age_ns"`

	Draining bool           `json:"draining"` // the edge is on its way out, by an order or a stop
	Load     string         `json:"load"`     // a word for how loaded it is, "" when it does not say
	Prefixes []PrefixReport `json:"prefixes"`
	Intents  []Intent       `json:"intents"`
	// Hears are the names of the edges that it hears, in order.
	Hears []string `json:"hears"`
}

// PrefixReport is how an edge holds one route.
type PrefixReport struct {
	Prefix netip.Prefix  `json:"prefix"`
	Level  Level         `json:"level"`
	Reason string        `json:"reason"` // a few words; those of the edge's own status
	For    time.Duration `json:"for_ns"` // how long it has been on this level
}

// Intent is that an edge wants to withdraw a prefix which it could go on announcing, and waits for its turn.
type Intent struct {
	Prefix netip.Prefix  `json:"prefix"`
	Reason string        `json:"reason"`
	For    time.Duration `json:"for_ns"` // how long it has wanted to
}

// Level is how the edge holds a prefix; unknown when it does not say.
func (r *Report) Level(p netip.Prefix) Level {
	if r == nil {
		return LevelUnknown
	}
	for i := range r.Prefixes {
		if r.Prefixes[i].Prefix == p {
			return r.Prefixes[i].Level
		}
	}
	return LevelUnknown
}

// aged is the report some time later: what lasts goes on.
func (r *Report) aged(by time.Duration) *Report {
	out := *r
	by = max(0, by)
	out.Age += by
	out.Prefixes, out.Intents = slices.Clone(r.Prefixes), slices.Clone(r.Intents)
	for i := range out.Prefixes {
		out.Prefixes[i].For += by
	}
	for i := range out.Intents {
		out.Intents[i].For += by
	}
	return &out
}

// saysAs reports whether two reports say the same; how long it has lasted makes no difference.
func (r *Report) saysAs(o *Report) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Edge == o.Edge && r.Instance == o.Instance && r.Draining == o.Draining && r.Load == o.Load && slices.Equal(r.Hears, o.Hears) &&
		slices.EqualFunc(r.Prefixes, o.Prefixes, func(a, b PrefixReport) bool {
			return a.Prefix == b.Prefix && a.Level == b.Level && a.Reason == b.Reason
		}) &&
		slices.EqualFunc(r.Intents, o.Intents, func(a, b Intent) bool { return a.Prefix == b.Prefix && a.Reason == b.Reason })
}
