package fleet

import (
	"context"
	"slices"
	"time"
)

// looks is how many times in silent_after it is looked whether somebody has fallen silent, and whether this process has stood still.
const looks = 8

// watcher tells silence from time. One goroutine owns it.
type watcher struct {
	f      *Fleet
	asking time.Time            // since when the process has not stood still
	last   time.Time            // of the latest look
	twins  map[string]time.Time // names that several processes have, since when
	told   map[string]bool      // of them
}

func (f *Fleet) newWatcher(now time.Time) *watcher {
	return &watcher{f: f, asking: now, last: now, twins: make(map[string]time.Time), told: make(map[string]bool)}
}

// run looks until ctx ends: regularly, and whenever somebody may just have fallen silent.
func (w *watcher) run(ctx context.Context) {
	timer := time.NewTimer(w.wait(w.last))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		w.look(now)
		timer.Reset(w.wait(now))
	}
}

// wait is the time until the next look.
func (w *watcher) wait(now time.Time) time.Duration {
	after := w.f.silentAfter
	wait := after / looks
	for _, p := range w.f.View().Peers {
		if p.State == Heard || p.State == Unknown {
			if left := p.base().Add(after).Sub(now); left > 0 {
				wait = min(wait, left)
			}
		}
	}
	return wait
}

// look notes who has fallen silent by now. When this look comes far too late the process itself was stopped, or starved of the CPU, and
// did not ask: then whoever would be silent is unknown.
func (w *watcher) look(now time.Time) {
	after := w.f.silentAfter
	if gap := now.Sub(w.last); gap > after/2 {
		w.asking = now
		w.f.standstills.Inc()
		w.f.log.Warn("this process stood still, and has not asked the other edges meanwhile", "for", gap)
	}
	w.last = now
	for i := range w.f.targets {
		w.f.update(i, func(p *Peer) *Peer { return p.at(now, w.asking, after) })
	}
	w.findTwins(now)
}

// findTwins warns of names that several processes have, once they have had them for silent_after: an edge that restarts has two instances
// until each of its addresses has been asked again.
func (w *watcher) findTwins(now time.Time) {
	names := w.f.View().twins(w.f.self.Edge)
	for name := range w.twins {
		if !slices.Contains(names, name) {
			delete(w.twins, name)
		}
	}
	for _, name := range names {
		since, ok := w.twins[name]
		if !ok {
			w.twins[name] = now
			continue
		}
		if now.Sub(since) >= w.f.silentAfter && !w.told[name] && len(w.told) < MaxEdges {
			w.told[name] = true
			w.f.log.Warn("two edges have the same name; give each one of its own", "name", name)
		}
	}
}
