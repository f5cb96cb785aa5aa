package quicload

import (
	"slices"
	"strings"
	"time"
)

// LongestGap returns the longest time without an answer at or after a moment: between the ends of two successful requests, or from the moment
// to the first such end. Until the last record's end nothing may have been answered either, which counts. 0 when nothing ended after it.
func LongestGap(records []Record, after time.Time) time.Duration {
	var ends []time.Time
	last := after
	for _, r := range records {
		if r.Err == "" && r.End.After(after) {
			ends = append(ends, r.End)
		}
		if r.End.After(last) {
			last = r.End
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	var longest time.Duration
	previous := after
	for _, end := range append(ends, last) {
		longest = max(longest, end.Sub(previous))
		previous = end
	}
	return longest
}

// Failed returns the requests that ended with an error, those that hang at the stop among them.
func Failed(records []Record) []Record {
	var failed []Record
	for _, r := range records {
		if r.Err != "" {
			failed = append(failed, r)
		}
	}
	return failed
}

// Hanging reports whether the request had no answer when its run was stopped.
func (r Record) Hanging() bool { return strings.HasPrefix(r.Err, Unfinished) }

// Connections is how many connections the successful requests from a moment on used; 0 when the client does not tell.
func Connections(records []Record, from time.Time) int {
	seen := map[uint64]bool{}
	for _, r := range records {
		if r.Err == "" && r.Connection != 0 && !r.Start.Before(from) {
			seen[r.Connection] = true
		}
	}
	return len(seen)
}

// Slowest is the longest time that a successful request sent from a moment on took.
func Slowest(records []Record, from time.Time) time.Duration {
	var slowest time.Duration
	for _, r := range records {
		if r.Err == "" && !r.Start.Before(from) {
			slowest = max(slowest, r.End.Sub(r.Start))
		}
	}
	return slowest
}

// Edges are the edges that served, in order of their first answer.
func Edges(records []Record) []string {
	byEnd := slices.Clone(records)
	slices.SortStableFunc(byEnd, func(a, b Record) int { return a.End.Compare(b.End) })
	var edges []string
	for _, r := range byEnd {
		if r.Err == "" && !slices.Contains(edges, r.Via) {
			edges = append(edges, r.Via)
		}
	}
	return edges
}

// unfinished ends a request at the stop.
func unfinished(r Record, stop time.Time) Record {
	r.End = stop
	r.Err = Unfinished + stop.Sub(r.Start).Round(time.Millisecond).String()
	return r
}

func byStart(a, b Record) int { return a.Start.Compare(b.Start) }
