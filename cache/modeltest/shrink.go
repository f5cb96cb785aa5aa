package modeltest

import (
	"slices"

	"nearcast/proxy/message"
)

// Shrink makes a history smaller for as long as it fails: steps, plans, fields and all that is not needed for it go. fails must not change it.
func Shrink(h History, fails func(History) bool) History {
	for again := true; again; {
		again = false
		for _, smaller := range smallerOnes(h) {
			if fails(smaller) {
				h, again = smaller, true
				break
			}
		}
	}
	return h
}

// smallerOnes are the histories that have one thing less, the large things first.
func smallerOnes(h History) []History {
	var out []History
	for i := range h {
		out = append(out, slices.Delete(slices.Clone(h), i, i+1))
	}
	change := func(i int, f func(*Step)) {
		c := slices.Clone(h)
		c[i].Plans, c[i].Request.Fields = slices.Clone(c[i].Plans), slices.Clone(c[i].Request.Fields)
		f(&c[i])
		if c.String() != h.String() {
			out = append(out, c)
		}
	}
	for i := range h {
		for j := range h[i].Plans {
			if len(h[i].Plans) > 1 {
				change(i, func(s *Step) { s.Plans = slices.Delete(s.Plans, j, j+1) })
			}
			for k := range h[i].Plans[j].Fields {
				change(i, func(s *Step) { s.Plans[j].Fields = without(s.Plans[j].Fields, k) })
			}
			change(i, func(s *Step) { s.Plans[j].Delay = 0 })
			change(i, func(s *Step) { s.Plans[j].Cut = false })
			change(i, func(s *Step) { s.Plans[j].Bump = false })
			change(i, func(s *Step) { s.Plans[j].Blind = false })
			change(i, func(s *Step) { s.Plans[j].Lie = false })
			change(i, func(s *Step) { s.Plans[j].Chunked = false })
		}
		for k := range h[i].Request.Fields {
			change(i, func(s *Step) { s.Request.Fields = without(s.Request.Fields, k) })
		}
		change(i, func(s *Step) { s.Wait = 0 })
		change(i, func(s *Step) { s.Leave = false })
		change(i, func(s *Step) { s.Restart = "" })
		change(i, func(s *Step) { s.Purge = Purge{} })
		change(i, func(s *Step) { s.Purge.At = 0 })
		change(i, func(s *Step) { s.Crowd = max(s.Crowd-1, 0) })
	}
	return out
}

func without(f message.Fields, k int) message.Fields { return slices.Delete(slices.Clone(f), k, k+1) }
