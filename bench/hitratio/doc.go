// Package hitratio plays made-up popularity to ways of evicting, and counts the hits. It decides which one the cache uses.
package hitratio

import (
	"fmt"
	"io"
)

// Request is one request of a trace.
type Request struct {
	Key  uint64
	Size int64 // bytes, the same for every request of the key
}

// Policy is a cache of a number of bytes.
type Policy interface {
	// Get reports a hit; after a miss the object is stored.
	Get(Request) bool
}

// Result is what a policy made of a trace.
type Result struct {
	Trace, Policy string
	// Share is the cache's size as a part of all different objects' bytes.
	Share float64
	// Hits and Bytes are the parts of the requests, and of their bytes, that were hits; the first fifth of the trace is not counted.
	Hits, Bytes float64
}

// Run plays every trace to every policy, with caches of these shares of the bytes of a trace's objects. requests is a trace's length.
func Run(requests int, shares []float64, policies []Maker) []Result {
	var all []Result
	for _, t := range Traces {
		trace := t.Make(requests)
		footprint := footprint(trace)
		for _, share := range shares {
			capacity := int64(share * float64(footprint))
			for _, m := range policies {
				r := play(trace, m.Make(capacity))
				r.Trace, r.Policy, r.Share = t.Name, m.Name, share
				all = append(all, r)
			}
		}
	}
	return all
}

func play(trace []Request, p Policy) (r Result) {
	var hits, hitBytes, bytes int64
	warm := len(trace) / 5
	for i, x := range trace {
		hit := p.Get(x)
		if i < warm {
			continue
		}
		bytes += x.Size
		if hit {
			hits++
			hitBytes += x.Size
		}
	}
	return Result{Hits: float64(hits) / float64(len(trace)-warm), Bytes: float64(hitBytes) / float64(max(bytes, 1))}
}

func footprint(trace []Request) (n int64) {
	seen := make(map[uint64]bool)
	for _, x := range trace {
		if !seen[x.Key] {
			seen[x.Key] = true
			n += x.Size
		}
	}
	return n
}

// Table writes the results for people, a row for each trace and share: hits, and bytes that were hits, in percent.
func Table(w io.Writer, results []Result, policies []Maker) {
	fmt.Fprint(w, "| trace | cache |")
	for _, m := range policies {
		fmt.Fprintf(w, " %s |", m.Name)
	}
	fmt.Fprint(w, "\n|---|---|")
	for range policies {
		fmt.Fprint(w, "---|")
	}
	for i, r := range results {
		if i%len(policies) == 0 {
			fmt.Fprintf(w, "\n| %s | %g %% |", r.Trace, 100*r.Share)
		}
		fmt.Fprintf(w, " %.1f / %.1f |", 100*r.Hits, 100*r.Bytes)
	}
	fmt.Fprintln(w)
}
