package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// reloadEvery is the time between two looks at the file of the secret.
const reloadEvery = 2 * time.Second

// keyFile are the keys, read again when their file changes. What can't be used leaves those that were there.
type keyFile struct {
	// immutable
	file           string
	log            *slog.Logger
	rescue         bool   // QUIC connection IDs are made with the secret that was first at the start, for as long as the process lives
	first          []byte // a key of that secret
	loaded, failed *metrics.Counter

	keys    atomic.Pointer[keyring]
	restart atomic.Bool // that secret is not the first any more

	// owned by watch
	state os.FileInfo // of the file that the keys are from; nil when it could not be seen
	fault string      // why the latest reading was of no use; "" when it was
}

func openKeyFile(file string, rescue bool, log *slog.Logger, set *metrics.Set) (*keyFile, error) {
	k := &keyFile{file: file, rescue: rescue, log: log,
		loaded: set.NewCounter(`nearcast_fleet_secret_reloads_total{result="loaded"}`),
		failed: set.NewCounter(`nearcast_fleet_secret_reloads_total{result="failed"}`)}
	k.state, _ = os.Stat(file) // before it is read: what changes meanwhile is a further change
	keys, err := readKeyring(file)
	if err != nil {
		return nil, err
	}
	k.keys.Store(keys)
	k.first = keys.pairs[0].question
	set.NewGauge("nearcast_fleet_secret_restart_needed", func() float64 {
		if k.restart.Load() {
			return 1
		}
		return 0
	})
	return k, nil
}

func (k *keyFile) get() *keyring { return k.keys.Load() }

// watch looks at the file until ctx ends.
func (k *keyFile) watch(ctx context.Context) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.look()
		}
	}
}

// look reads the file if it has changed, and as long as it can't be used.
func (k *keyFile) look() {
	state, err := os.Stat(k.file)
	if err == nil && k.state != nil && os.SameFile(state, k.state) && state.Size() == k.state.Size() && state.ModTime().Equal(k.state.ModTime()) {
		k.fault = "" // it is what it was, also after it was away
		return
	}
	keys, err := readKeyring(k.file)
	if err != nil {
		if err.Error() != k.fault {
			k.fault = err.Error()
			k.failed.Inc()
			k.log.Error("the fleet's changed secret can't be used; the one read before stays", "error", err)
		}
		return
	}
	k.state, k.fault = state, ""
	k.keys.Store(keys)
	k.loaded.Inc()
	k.log.Info("the fleet's secret has been read again", "file", k.file, "secrets", len(keys.pairs))
	k.compare(keys)
}

// compare says what the change means for QUIC connections, which keep the secret of the start.
func (k *keyFile) compare(now *keyring) {
	at := slices.IndexFunc(now.pairs, func(p keyPair) bool { return bytes.Equal(p.question, k.first) })
	k.restart.Store(k.rescue && at != 0)
	switch {
	case !k.rescue || at == 0:
	case at > 0:
		k.log.Info("QUIC connection IDs are still made with the secret that was first at the start: restart this edge before that line is removed", "line", at+1)
	default:
		k.log.Warn("QUIC connection IDs are still made with the secret of the start, which is not in the file any more, and other edges that lack it can't read them: " +
			"connections end when the route moves; restart this edge, or write that secret at the end of the file, here and in the others")
	}
}
