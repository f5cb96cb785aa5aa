package main

import (
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/health/load"
	"nearcast/proxy"
)

// loadMonitor builds what samples how hard pressed this edge is, and tells the proxy.
func (e *edge) loadMonitor(log *slog.Logger, set *metrics.Set) *load.Monitor {
	sources := load.System()
	sources[load.AcceptQueue] = load.AcceptQueues(e.acceptQueues)
	sources[load.Connections] = load.Limited(e.front.Connections)
	return load.New(e.cfg.Overload, sources, load.Options{Log: log, Set: set, After: e.shed()})
}

// acceptQueues are the front's queues as package load has them.
func (e *edge) acceptQueues() ([]load.Queue, error) {
	queues, err := e.front.AcceptQueues()
	out := make([]load.Queue, len(queues))
	for i, q := range queues {
		out[i] = load.Queue{Name: q.Listener, Waiting: q.Waiting, Limit: q.Limit}
	}
	return out, err
}

// shed tells the proxy of each sample, unless it is to refuse nothing.
func (e *edge) shed() func(load.State) {
	if !e.cfg.Overload.Shed {
		return nil
	}
	var last time.Time
	return func(st load.State) {
		if held, latest := shedLevels(&st); !last.IsZero() {
			e.proxy.ObserveLoad(st.At.Sub(last), proxyLoad(held), proxyLoad(latest))
		}
		last = st.At
	}
}

// shedLevels are the levels that refusing requests can lower. The number of connections is none of it: their clients keep them, and
// it says nothing about how much work comes over them. It counts for the announcement.
func shedLevels(st *load.State) (held, latest load.Level) {
	for i := range st.Signals {
		if s := &st.Signals[i]; s.Name != load.Connections {
			held, latest = max(held, s.Level), max(latest, s.Latest)
		}
	}
	return held, latest
}

// proxyLoad is a level as the proxy has it. Unknown is no load.
func proxyLoad(l load.Level) proxy.Load {
	switch l {
	case load.High:
		return proxy.LoadHigh
	case load.Critical:
		return proxy.LoadCritical
	}
	return proxy.LoadOK
}
