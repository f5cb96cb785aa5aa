package config

import (
	"slices"
	"strings"
)

// suggest says which of the known words was probably meant, or lists them when none is near. It returns the nearest word too.
func suggest(word string, known []string) (hint, nearest string) {
	known = slices.Sorted(slices.Values(known))
	best := max(1, len(word)/3) + 1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < best {
			best, nearest = d, k
		}
	}
	if nearest == "" {
		nearest = begunBy(word, known)
	}
	switch {
	case nearest != "":
		return "did you mean \"" + nearest + "\"?", nearest
	case len(known) == 0:
		return "", ""
	case len(known) > 20:
		return "", ""
	}
	return "known here: " + strings.Join(known, ", "), ""
}

// begunBy returns the one known word of which word is the beginning, if there is just one.
func begunBy(word string, known []string) (whole string) {
	if len(word) < 3 {
		return ""
	}
	for _, k := range known {
		if strings.HasPrefix(k, word) {
			if whole != "" {
				return ""
			}
			whole = k
		}
	}
	return whole
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into b
// (optimal string alignment). Words are cut at 64 characters, so that its cost is bounded.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	x, y = x[:min(len(x), 64)], y[:min(len(y), 64)]
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
