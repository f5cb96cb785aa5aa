//go:build race

package h2

// underRace: pools forget at random, so that allocations can't be counted.
const underRace = true
