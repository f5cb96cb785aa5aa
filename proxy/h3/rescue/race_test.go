//go:build race

package rescue

// underRace: pools forget at random, so that allocations can't be counted.
const underRace = true
