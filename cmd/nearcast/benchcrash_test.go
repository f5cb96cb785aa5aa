package main

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"nearcast/bench/crash"
)

// asProgram makes this test binary the program, for tests that need it as a process of its own.
const asProgram = "NEARCAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestNothingWrongIsServedAcrossKills kills the real program under load a few times. More: nearcast bench crash.
func TestNothingWrongIsServedAcrossKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts programs")
	}
	for _, c := range []struct {
		what    string
		noDisk  bool
		between time.Duration
	}{{"memory", true, 400 * time.Millisecond}, {"disk", false, 1500 * time.Millisecond}} { // the disk is written behind the answers
		t.Run(c.what, func(t *testing.T) {
			r, err := crash.Run(t.Context(), crash.Options{Binary: os.Args[0], Env: []string{asProgram + "=1"}, Dir: t.TempDir(), Kills: 3, Between: c.between, Clients: 4, Keys: 200,
				MaxBody: 64 << 10, Memory: "2MiB", Disk: "64MiB", NoDisk: c.noDisk, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			text, _ := json.Marshal(r)
			if r.Wrong > 0 || r.Kills != 3 || r.Requests == 0 || (r.Warm == 0) != c.noDisk {
				t.Errorf("%s", text)
			}
			t.Logf("%s", text)
		})
	}
}
