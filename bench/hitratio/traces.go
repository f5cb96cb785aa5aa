package hitratio

import (
	"math"
	"math/rand/v2"
	"sort"
)

// Trace is a way to make requests.
type Trace struct {
	Name string
	Make func(requests int) []Request
}

// objects is how many different popular objects a trace has for each request of it.
const objects = 0.1

// Traces are those of the comparison. They are the same at every run.
var Traces = []Trace{
	{"Zipf 0.8", func(n int) []Request { return zipf(n, 0.8, maker{}) }},
	{"Zipf 1.0", func(n int) []Request { return zipf(n, 1, maker{}) }},
	{"Zipf 1.2", func(n int) []Request { return zipf(n, 1.2, maker{}) }},
	{"Zipf 1.0, a fifth is scans", func(n int) []Request { return zipf(n, 1, maker{scans: 0.2}) }},
	{"Zipf 0.8, 40 % asked for once", func(n int) []Request { return zipf(n, 0.8, maker{once: 0.4}) }},
	{"Zipf 1.0, popularity shifts", func(n int) []Request { return zipf(n, 1, maker{shifts: 20}) }},
	{"Zipf 1.0, sizes from 100 B to 4 MB", func(n int) []Request { return zipf(n, 1, maker{mixed: true}) }},
	{"Zipf 0.8, mixed sizes, scans, shifts", func(n int) []Request { return zipf(n, 0.8, maker{scans: 0.2, shifts: 10, mixed: true}) }},
}

// maker says how a trace differs from plain popularity.
type maker struct {
	scans  float64 // this part of the requests walks over all objects, each scan over a twentieth of them
	once   float64 // this part is for objects that nobody asks for again
	shifts int     // so many times in the trace a tenth of the objects change their popularity
	mixed  bool    // log-normal sizes, else 10 kB each
}

// zipf is a trace in which the object of rank i is asked for with a probability in proportion to 1/i^s.
func zipf(requests int, s float64, m maker) []Request {
	rnd := rand.New(rand.NewPCG(1, uint64(s*100)))
	n := max(int(objects*float64(requests)), 10)
	popular := NewPopularity(n, s)
	byRank := rnd.Perm(n)
	trace := make([]Request, 0, requests)
	scanned, scanEnd, fresh := 0, 0, uint64(n)
	for len(trace) < requests {
		if m.shifts > 0 && len(trace)%(requests/m.shifts) == 0 {
			for range n / 20 {
				i, j := popular.Rank(rnd), rnd.IntN(n)
				byRank[i], byRank[j] = byRank[j], byRank[i]
			}
		}
		key := uint64(byRank[popular.Rank(rnd)])
		switch p := rnd.Float64(); {
		case p < m.scans:
			if scanned >= scanEnd {
				scanned = rnd.IntN(n)
				scanEnd = scanned + n/20
			}
			key = uint64(scanned % n)
			scanned++
		case p < m.scans+m.once:
			key = fresh
			fresh++
		}
		trace = append(trace, Request{key, m.size(key)})
	}
	return trace
}

// Popularity draws ranks, the most popular first, with probabilities by Zipf's law.
type Popularity struct{ sums []float64 }

// NewPopularity is that of n ranks from 0, the i-th with a probability in proportion to 1/(i+1)^s.
func NewPopularity(n int, s float64) Popularity {
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	return Popularity{sums}
}

// Rank draws one.
func (p Popularity) Rank(rnd *rand.Rand) int {
	return sort.SearchFloat64s(p.sums, rnd.Float64()*p.sums[len(p.sums)-1])
}

// size is the key's.
func (m maker) size(key uint64) int64 {
	if !m.mixed {
		return 10_000
	}
	rnd := rand.New(rand.NewPCG(key, 7))
	return int64(min(max(math.Exp(9+1.8*rnd.NormFloat64()), 100), 4e6))
}
