package bgp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	stateVersion  = 1
	maxStateFile  = 1 << 20
	stateSaveTime = time.Second      // a stop waits so long for the last state to be written
	stateAgain    = 20 * time.Second // until another attempt to write what could not be
)

// savedState is what outlives the process: orders, and what the routes have done.
type savedState struct {
	Version  int           `json:"version"`
	Clean    bool          `json:"clean"` // the process withdrew everything before it ended
	Drain    *DrainOrder   `json:"drain,omitempty"`
	Prefixes []savedPrefix `json:"prefixes"`
}

type savedPrefix struct {
	Prefix        netip.Prefix  `json:"prefix"`
	Announced     bool          `json:"announced"`
	Penalty       time.Duration `json:"penalty_ns"`
	Flaps         int           `json:"flaps"`
	HoldDownUntil time.Time     `json:"hold_down_until,omitzero"`
}

// equal says whether two states are the same in the file.
func (s *savedState) equal(o *savedState) bool {
	if s == nil || o == nil {
		return s == o
	}
	a, aerr := json.Marshal(s)
	b, berr := json.Marshal(o)
	return aerr == nil && berr == nil && string(a) == string(b)
}

// parseState reads a state file's content strictly.
func parseState(data []byte) (*savedState, error) {
	if len(data) > maxStateFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxStateFile)
	}
	var s savedState
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("it is of version %d, and must be %d", s.Version, stateVersion)
	}
	for _, p := range s.Prefixes {
		if !p.Prefix.IsValid() || p.Penalty < 0 || p.Flaps < 0 {
			return nil, fmt.Errorf("it has an impossible entry for %s", p.Prefix)
		}
	}
	return &s, nil
}

// remember takes over what the process before has left. One that did not withdraw before it ended has let the route fall: that is a flap
// like any other, so that one that crashes again and again is held down.
func (a *Announcer) remember(s *savedState, now time.Time) {
	if s == nil {
		return
	}
	a.drain.Store(s.Drain)
	if s.Drain != nil {
		a.log.Warn("draining goes on: the order is older than this process", "order", s.Drain.String(), "at", s.Drain.At)
	}
	a.state.Prefixes = make([]PrefixState, len(a.config.Prefixes))
	for i, p := range a.config.Prefixes {
		for _, old := range s.Prefixes {
			if old.Prefix != p {
				continue
			}
			a.state.Prefixes[i] = a.config.resume(old, s.Clean, now)
			if !s.Clean && old.Announced {
				a.log.Warn("the process before ended without withdrawing "+p.String(), "held_down_until", a.state.Prefixes[i].HoldDownUntil)
			}
		}
	}
}

// resume is the state to begin with.
func (c *Config) resume(old savedPrefix, clean bool, now time.Time) PrefixState {
	s := PrefixState{Penalty: min(old.Penalty, c.HoldDown.Max), Flaps: old.Flaps}
	// From now on by the monotonic clock: one that is set back would lengthen it. Too long: the clock was elsewhere, or the configuration.
	if left := min(old.HoldDownUntil.Sub(now), c.HoldDown.Max); left > 0 {
		s.HoldDownUntil = now.Add(left)
	}
	if clean || !old.Announced {
		return s
	}
	s.Flaps++
	s.Penalty = max(c.HoldDown.First, min(2*s.Penalty, c.HoldDown.Max))
	s.HoldDownUntil = now.Add(s.Penalty)
	return s
}

// keep has the state written when it has changed.
func (a *Announcer) keep(o Orders, gone bool) {
	if a.keeper == nil {
		return
	}
	s := &savedState{Version: stateVersion, Clean: (o.Stopping || o.Hurry) && gone, Drain: o.Drain}
	for i, p := range a.config.Prefixes {
		st := &a.state.Prefixes[i]
		s.Prefixes = append(s.Prefixes, savedPrefix{Prefix: p, Announced: st.Level >= LevelDegraded, Penalty: st.Penalty, Flaps: st.Flaps,
			HoldDownUntil: st.HoldDownUntil})
	}
	a.keeper.save(s)
}

// CheckStateFile says what keeps the state file from being kept, as far as that can be told without writing it.
func (c *Config) CheckStateFile() error {
	if c.StateFile == "" {
		return nil
	}
	dir := filepath.Dir(c.StateFile)
	switch st, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("anycast.state_file: the directory %s does not exist; make it", dir)
	case err != nil:
		return fmt.Errorf("anycast.state_file: %w", err)
	case !st.IsDir():
		return fmt.Errorf("anycast.state_file: %s is no directory", dir)
	}
	if st, err := os.Stat(c.StateFile); err == nil && st.IsDir() {
		return fmt.Errorf("anycast.state_file: %s is a directory; name a file in it", c.StateFile)
	}
	return nil
}

// keeper writes the state file. A disk that hangs must not hold up a decision, so it has a goroutine of its own, the Announcer's.
type keeper struct {
	path   string
	log    *slog.Logger
	failed *metrics.Counter

	last *savedState      // owned by whoever calls save
	next chan *savedState // capacity one: the newest
	done chan struct{}
}

func newKeeper(path string, log *slog.Logger, set *metrics.Set) *keeper {
	return &keeper{path: path, log: log, failed: set.NewCounter("nearcast_bgp_state_file_failures_total"),
		next: make(chan *savedState, 1), done: make(chan struct{})}
}

// load reads the file; nil when there is none, or none that can be used: an edge serves without its past.
func (k *keeper) load() *savedState {
	data, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s *savedState
	if err == nil {
		s, err = parseState(data)
	}
	if err != nil {
		k.failed.Inc()
		aside := k.path + ".unusable"
		k.log.Error("anycast.state_file can't be used: orders and hold-downs from before are forgotten", "file", k.path, "error", err, "kept_as", aside,
			"rename", os.Rename(k.path, aside))
		return nil
	}
	return s
}

// save has s written, unless it is what was written last. It never waits.
func (k *keeper) save(s *savedState) {
	if s.equal(k.last) {
		return
	}
	k.last = s
	for {
		select {
		case k.next <- s:
			return
		default:
		}
		select {
		case <-k.next:
		default:
		}
	}
}

func (k *keeper) run() {
	defer close(k.done)
	again := time.NewTimer(stateAgain)
	defer again.Stop()
	again.Stop()
	var s *savedState
	for {
		select {
		case newest, more := <-k.next:
			if !more {
				return
			}
			s = newest
		case <-again.C:
		}
		if err := writeState(k.path, s); err != nil {
			k.failed.Inc()
			k.log.Error("anycast.state_file can't be written; trying again. A restart would forget orders and hold-downs", "file", k.path, "error", err)
			again.Reset(stateAgain)
		} else {
			again.Stop()
		}
	}
}

// close waits for what is to be written, though not for a disk that hangs.
func (k *keeper) close() {
	close(k.next)
	t := time.NewTimer(stateSaveTime)
	defer t.Stop()
	select {
	case <-k.done:
	case <-t.C:
		k.failed.Inc()
		k.log.Error("anycast.state_file could not be written in time", "file", k.path)
	}
}

// writeState puts the file into the place of the old one, whole or not at all.
func writeState(path string, s *savedState) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
