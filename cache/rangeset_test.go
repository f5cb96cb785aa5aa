package cache

import (
	"slices"
	"strings"
	"testing"
)

func TestRFC9110_15_3_7_2_SeveralRanges(t *testing.T) {
	for _, tt := range []struct {
		why, value string
		want       []Range
		status     int
	}{
		{"in the order asked", "bytes=7-8,0-1", []Range{{7, 9}, {0, 2}}, 206},
		{"a suffix and an open end", "bytes=-1,0-2,5-7", []Range{{9, 10}, {0, 3}, {5, 8}}, 206},
		{"overlapping ones become one", "bytes=0-3,2-5", []Range{{0, 6}}, 206},
		{"adjoining ones too", "bytes=2-3,0-1,4-4", []Range{{0, 5}}, 206},
		{"at the place of the first", "bytes=5-5,0-0,6-7", []Range{{5, 8}, {0, 1}}, 206},
		{"one that joins two others", "bytes=0-1,8-9,3-4,2-2", []Range{{0, 5}, {8, 10}}, 206},
		{"one that can't be satisfied is left out", "bytes=0-0,10-,2-2", []Range{{0, 1}, {2, 3}}, 206},
		{"none can", "bytes=10-,11-12,-0", nil, 416},
		{"as many as there may be", "bytes=" + strings.Repeat("0-0,", MaxRanges-1) + "2-2", []Range{{0, 1}, {2, 3}}, 206},
		{"one more", "bytes=" + strings.Repeat("0-0,", MaxRanges) + "2-2", nil, 200},
	} {
		o := newHarness(t).stored(200, "0123456789")
		got, status := ParseRanges(get("/stored", "Range: "+tt.value), o, nil)
		if !slices.Equal(got, tt.want) || status != tt.status {
			t.Errorf("%s: %q: %v, %d, want %v, %d", tt.why, tt.value, got, status, tt.want, tt.status)
		}
	}
	r := get("/stored", "Range: bytes=0-1", "Range: bytes=3-4")
	if _, status := ParseRanges(r, newHarness(t).stored(200, "0123456789"), nil); status != 200 {
		t.Errorf("Range is no list of lines: %d", status)
	}
}

func TestRFC9110_14_4_ContentRange(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  Range
		total int64
		ok    bool
	}{
		{"bytes 0-4/10", Range{0, 5}, 10, true},
		{"Bytes 9-9/10", Range{9, 10}, 10, true},
		{"bytes 0-4/*", Range{0, 5}, -1, true},
		{"bytes */10", Range{}, 0, false},
		{"bytes 0-10/10", Range{}, 0, false},
		{"bytes 4-0/10", Range{}, 0, false},
		{"bytes 0-4", Range{}, 0, false},
		{"bytes -4/10", Range{}, 0, false},
		{"bytes=0-4/10", Range{}, 0, false},
		{"bytes  0-4/10", Range{}, 0, false},
		{"lines 0-4/10", Range{}, 0, false},
		{"", Range{}, 0, false},
	} {
		rg, total, ok := parseContentRange(fields("Content-Range: " + tt.value))
		if rg != tt.want || total != tt.total || ok != tt.ok {
			t.Errorf("%q: %v/%d %v, want %v/%d %v", tt.value, rg, total, ok, tt.want, tt.total, tt.ok)
		}
	}
	if _, _, ok := parseContentRange(fields("Content-Range: bytes 0-4/10", "Content-Range: bytes 0-4/10")); ok {
		t.Error("two lines say nothing")
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-1", "bytes=1-", "bytes=99999999999999999999-", "bytes=--1", "bytes=0-0,1-1", "bytes=5-5,0-0,6-7", "bytes=-5,,3-", `bytes="0-1,2"-3`, "bytes=0-3,2-5,-1"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, length int64) {
		o := &Object{Status: 200, Length: length}
		ranges, status := ParseRanges(get("/", "Range: "+s), o, nil)
		if (status == 206) != (len(ranges) > 0) || len(ranges) > MaxRanges {
			t.Fatalf("%q of %d: %d with %v", s, length, status, ranges)
		}
		for i, rg := range ranges {
			if rg.Start < 0 || rg.Start >= rg.End || rg.End > length {
				t.Fatalf("%q of %d: %v", s, length, rg)
			}
			for _, other := range ranges[:i] {
				if rg.Start <= other.End && other.Start <= rg.End {
					t.Fatalf("%q of %d: %v meets %v", s, length, rg, other)
				}
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-4/10", "bytes */10", "bytes 0-4/*", "bytes 4-0/10", "bytes 0-99999999999999999999/99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rg, total, ok := parseContentRange(fields("Content-Range: " + s))
		if !ok {
			return
		}
		if rg.Start < 0 || rg.Start >= rg.End || total >= 0 && rg.End > total {
			t.Fatalf("%q: %v/%d", s, rg, total)
		}
		if total >= 0 {
			if again, n, ok := parseContentRange(fields("Content-Range: " + rg.ContentRange(total))); !ok || again != rg || n != total {
				t.Fatalf("%q: %v/%d is read back as %v/%d", s, rg, total, again, n)
			}
		}
	})
}
