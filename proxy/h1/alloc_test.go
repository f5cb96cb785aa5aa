//go:build !race

package h1

import (
	"strings"
	"testing"
)

// Not with the race detector: it makes sync.Pool forget on purpose.
func TestAHitAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name      string
		size, row int
	}{{"1 KiB", 1 << 10, 1}, {"pipelined", 1 << 10, 8}, {"100 KiB", 100 << 10, 1}, {"16 KiB pipelined", 16 << 10, 8}} {
		s := &script{in: []byte(strings.Repeat(hitRequest, tt.row)), left: 1 << 30}
		c := newConn(t.Context(), New(newReuse(tt.size), limited), s, testInfo)
		if n := testing.AllocsPerRun(200, func() {
			for range tt.row {
				if !c.next() {
					t.Fatal("the connection ended")
				}
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
		if want := 200 * tt.row * tt.size; s.got < want {
			t.Errorf("%s: %d bytes were sent, want more than %d", tt.name, s.got, want)
		}
		c.end()
	}
}
