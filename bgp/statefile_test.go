package bgp

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// TestAStateFileThatCannotBeWrittenIsCounted: hold-downs would not outlive the process, and nobody reads the log for it.
func TestAStateFileThatCannotBeWrittenIsCounted(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		file string
		want uint64
	}{
		{filepath.Join(dir, "state.json"), 0},
		{filepath.Join(dir, "absent", "state.json"), 1},
	} {
		k := newKeeper(c.file, slog.New(slog.DiscardHandler), metrics.NewSet())
		if k.load() != nil {
			t.Fatal("there is a state already")
		}
		go k.run()
		k.save(&savedState{Version: stateVersion})
		k.close()
		if got := k.failed.Get(); got != c.want {
			t.Errorf("%s: %d failures, want %d", c.file, got, c.want)
		}
	}
}
