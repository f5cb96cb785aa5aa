package stage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"nearcast/bench/load"
	"nearcast/bench/peers"
	"nearcast/bench/process"
	"nearcast/bench/table"
)

// Loader is a table.Loader for the stage's servers.
func (s *Stage) Loader() table.Loader {
	return loader{&tls.Config{RootCAs: s.roots, ServerName: Host, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}}
}

type loader struct{ tls *tls.Config }

// options are what Load and Hold have in common.
func (l loader) options(o table.Load) load.Options {
	url := "https://" + Host + "/{size}"
	if o.Protocol == peers.HTTP1 {
		url = "http://" + Host + "/{size}"
	}
	protocol := map[peers.Protocol]string{peers.HTTP1: load.HTTP1, peers.HTTP1TLS: load.HTTP1, peers.HTTP2: load.HTTP2, peers.HTTP3: load.HTTP3}[o.Protocol]
	return load.Options{URL: url, Protocol: protocol, Address: o.Address, TLS: l.tls, Sizes: []int64{int64(o.Size)}, Connections: o.Connections}
}

// Load keeps requests under way, in a closed loop.
func (l loader) Load(ctx context.Context, o table.Load) (table.Loaded, error) {
	var begin, end error
	options := l.options(o)
	options.Streams, options.Warmup, options.Duration = o.Streams, o.Warmup, o.Duration
	options.Begin, options.End = func() { begin = o.Begin() }, func() { end = o.End() }
	r, err := load.Run(ctx, options)
	if err := errors.Join(err, begin, end, ctx.Err()); err != nil {
		return table.Loaded{}, err
	}
	saw := table.Loaded{Requests: r.OK, Failed: r.Failed, Elapsed: time.Duration(r.Seconds * float64(time.Second)),
		P50: time.Duration(r.Latency.P50) * time.Microsecond, P99: time.Duration(r.Latency.P99) * time.Microsecond}
	if classes := r.Classes(); len(classes) > 0 {
		saw.Failure = classes[0] + ": " + r.Failures[classes[0]].Example
	}
	return saw, nil
}

// Hold keeps connections idle.
func (l loader) Hold(ctx context.Context, o table.Load, server process.Set) (float64, error) {
	r, err := load.Idle(ctx, load.IdleOptions{Options: l.options(o), Server: server, Settle: o.Duration})
	switch {
	case err != nil:
		return 0, err
	case r.Failed > 0 || r.Alive < o.Connections:
		return 0, fmt.Errorf("of %d connections %d failed and %d are left", o.Connections, r.Failed, r.Alive)
	}
	return float64(r.After-r.Before) / float64(r.Alive), nil
}
