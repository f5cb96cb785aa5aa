package cachebench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nearcast/cache"
)

// TestSmall shows that everything works; how fast is no matter here.
func TestSmall(t *testing.T) {
	o := Options{Objects: []int{200, 1000}, Body: 100, Requests: 3000, Keys: 5000, Zipf: 0.9, Pass: 24 << 20, Seed: 1, Warm: true, Dir: t.TempDir()}
	rows, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range rows {
		seen[r.Scenario]++
		if r.Value < 0 && r.Scenario != "memory" && r.Scenario != "pass-through" || r.Value == 0 && r.Scenario == "hit ratio" {
			t.Errorf("%+v", r)
		}
	}
	for scenario, n := range map[string]int{"hit ratio": 4, "store": 2, "memory": 2, "collection": 2, "hit, Lookup": 4, "hit, Quick": 4, "purge": 2, "pass-through": 3, "disk, written": 1, "disk, first hit": 1, "disk, all known": 1, "disk, hit": 1} {
		if seen[scenario] != n {
			t.Errorf("%s: %d rows, want %d", scenario, seen[scenario], n)
		}
	}
}

func TestAPurgeThatLeavesSomethingIsFound(t *testing.T) {
	o := Options{Objects: []int{100}, Body: 100, Requests: 100, Keys: 100, Zipf: 0.9, Purges: []Purge{{"nothing", func(*cache.Cache, time.Time) error { return nil }}}}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "still a hit: /o/0") {
		t.Errorf("%v", err)
	}
	o.Purges[0].Do = func(*cache.Cache, time.Time) error { return errors.New("no") }
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("a purge that fails is passed over")
	}
}

func TestFiles(t *testing.T) {
	r := Report{Date: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), Commit: "abc", Rows: []Row{{"store", "1 k objects", 12.34, "ns", "2.0 allocations"}}, Quick: true}
	names, err := r.WriteFiles(filepath.Join(t.TempDir(), "results"))
	if err != nil || len(names) != 2 || filepath.Base(names[1]) != "2026-11-28-cache.md" {
		t.Fatalf("%q, %v", names, err)
	}
	md, _ := os.ReadFile(names[1])
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.Contains(string(md), "| store | 1 k objects | 12.3 ns | 2.0 allocations |") || !strings.Contains(table.String(), "12.3 ns") {
		t.Errorf("%s%s%v", md, table.String(), err)
	}
}
