package main

import (
	"os"
	"testing"
	"time"

	"nearcast/bench/flood"
)

// TestFloodIsMeasured floods the real program a little. More: nearcast bench flood.
func TestFloodIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("starts programs")
	}
	rows, err := flood.Run(t.Context(), flood.Options{Binary: os.Args[0], Env: []string{asProgram + "=1"}, Dir: t.TempDir(), Rate: 500, Duration: 3 * time.Second, Clients: 2,
		Sources: []string{flood.OneNet}, Defences: []string{flood.Guard}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[0]; r.Received == 0 || r.Passed == 0 || r.Passed == r.Received || r.GoroutinesAfter == 0 || r.During.Came == 0 || r.During.In == 0 {
		t.Errorf("%+v", r)
	}
}
