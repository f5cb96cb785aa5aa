package ticket

import (
	"slices"
	"testing"
	"time"
)

// TestOwnKeys: a key makes tickets for a day, and reads them for a week more.
func TestOwnKeys(t *testing.T) {
	var o own
	now := time.Unix(1e9, 0)
	first, changed := o.refresh(now)
	if len(first) != 1 || !changed {
		t.Fatalf("%d keys, changed %t", len(first), changed)
	}
	if _, changed := o.refresh(now.Add(keyAge - 1)); changed {
		t.Error("a key was changed before its time")
	}
	for day := 1; day <= 20; day++ {
		keys, changed := o.refresh(now.Add(time.Duration(day) * keyAge))
		if !changed || keys[0] == first[0] {
			t.Errorf("day %d: changed %t", day, changed)
		}
		if want := day < 8; slices.Contains(keys, first[0]) != want {
			t.Errorf("day %d: the first key is kept: %t", day, !want)
		}
		if len(keys) > 8 {
			t.Errorf("day %d: %d keys", day, len(keys))
		}
	}
	// After a long silence the key that made the last tickets still reads them.
	last := o.keys[0].key
	if keys, _ := o.refresh(now.Add(26 * keyAge)); !slices.Contains(keys, last) {
		t.Error("the last key was dropped")
	}
}
