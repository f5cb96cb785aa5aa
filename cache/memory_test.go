package cache

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestTheBudgetFitsTheMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		memory, object Size
		limit          int64
		want, wantObj  Size
	}{
		{256 << 20, 16 << 20, math.MaxInt64, 256 << 20, 16 << 20},
		{256 << 20, 16 << 20, 320 << 20, 256 << 20, 16 << 20}, // exactly
		{256 << 20, 16 << 20, 256 << 20, 192 << 20, 16 << 20},
		{4 << 30, 1 << 30, 1 << 30, 896 << 20, 896 << 20}, // an eighth is more than 64 MiB
		{256 << 20, 16 << 20, 10 << 20, minMemory, minMemory},
	} {
		c := Config{Memory: tt.memory, MaxObject: tt.object}
		if reduced := c.fit(tt.limit); reduced != (tt.want != tt.memory) || c.Memory != tt.want || c.MaxObject != tt.wantObj {
			t.Errorf("%v of %v: %v, %v", tt.memory, Size(tt.limit), c.Memory, c.MaxObject)
		}
	}
}

func TestCellsAreTakenOffTheMemoryLimit(t *testing.T) {
	const limit = 8 << 30
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	h := newHeapLimit()
	h.note(limit/limitSteps - 1)
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("%d after a small step", got)
	}
	h.note(1 << 30)
	if got := debug.SetMemoryLimit(-1); got != limit-1<<30 {
		t.Errorf("%d with a GiB outside", got)
	}
	h.note(0)
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("%d with nothing outside", got)
	}
}
