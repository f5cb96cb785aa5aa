package cache

import (
	"math"
	"runtime/debug"
)

// GOMEMLIMIT bounds what the Go runtime manages. The cells of packed objects are not among that, so the store takes them off the limit: what
// the operator has set then holds for both together.

const (
	// minReserve and reserveShare are what must be left of the limit for everything but the store: the larger counts.
	minReserve   = 64 << 20
	reserveShare = 8
	// limitSteps: the runtime's limit is changed when the cells have grown by one part in so many of it.
	limitSteps = 32
)

// Fit reduces Memory to what GOMEMLIMIT leaves room for, when it is set: all but the larger of 64 MiB and an eighth. It reports
// whether it had to. MaxObject is reduced with it.
func (c *Config) Fit() (reduced bool) { return c.fit(debug.SetMemoryLimit(-1)) }

func (c *Config) fit(limit int64) bool {
	room := Size(limit - max(minReserve, limit/reserveShare))
	if limit == math.MaxInt64 || c.Memory <= room {
		return false
	}
	c.Memory = max(room, minMemory)
	c.MaxObject = min(c.MaxObject, c.Memory)
	return true
}

// heapLimit takes off the runtime's limit what is outside of its heap.
type heapLimit struct {
	total, noted int64 // total is 0 without a limit
}

func newHeapLimit() heapLimit {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return heapLimit{total: n}
	}
	return heapLimit{}
}

// note notes what is outside. It stops the world, which is why it does so in steps.
func (h *heapLimit) note(outside int64) {
	if step := h.total / limitSteps; h.total == 0 || outside < h.noted+step && outside > h.noted-step {
		return
	}
	h.noted = outside
	debug.SetMemoryLimit(max(h.total-outside, h.total/reserveShare))
}
