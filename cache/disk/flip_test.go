package disk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestAFlippedBitBringsNothingBack flips a bit of every octet of every file, after a kill and after a stop: what was deleted or replaced does
// not come back, and no body is another one.
func TestAFlippedBitBringsNothingBack(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newFaulty(t)
				s := openTest(t, Options{FS: fs})
				put(t, s, "deleted", 1, 40)
				put(t, s, "replaced", 1, 40)
				s.Close() // so that they are in a segment of their own
				s = openTest(t, Options{FS: fs})
				put(t, s, "kept", 1, 40)
				put(t, s, "here and deleted", 1, 40)
				s.Delete(s.Hash([]byte("deleted")))
				put(t, s, "replaced", 2, 40)
				put(t, s, "between", 1, 40)
				s.Delete(s.Hash([]byte("here and deleted")))
				flush(t, s)
				before := fs.copyOf()
				s.Close()
				if !killed {
					before = fs
				}
				kept := 0
				for _, name := range slices.Sorted(maps.Keys(before.files)) {
					if name == formatName {
						continue // the start fails, or no hash is what it was
					}
					for i := range before.files[name].data {
						after := before.copyOf()
						after.files[name].data[i] ^= 1 << (i % 8)
						s := openTest(t, Options{FS: after})
						if get(t, s, "deleted") != 0 || get(t, s, "here and deleted") != 0 || get(t, s, "replaced") == 1 {
							t.Errorf("%s: octet %d of %d: %d %d %d", name, i, len(after.files[name].data), get(t, s, "deleted"), get(t, s, "here and deleted"), get(t, s, "replaced"))
						}
						kept += get(t, s, "kept")
						s.Close()
						if strings.HasSuffix(name, logSuffix) && i%16 == 0 { // the next start knows no better
							s = openTest(t, Options{FS: after})
							if get(t, s, "deleted") != 0 || get(t, s, "here and deleted") != 0 || get(t, s, "replaced") == 1 {
								t.Errorf("%s: octet %d: back after another restart", name, i)
							}
							s.Close()
						}
					}
				}
				if kept == 0 {
					t.Error("nothing was ever kept")
				}
			})
		})
	}
}
