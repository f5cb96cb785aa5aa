//go:build race

package cachebench

// raced: the race detector makes a sync.Pool forget at random, so that allocations are not counted.
const raced = true
