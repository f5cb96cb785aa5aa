package stage

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"nearcast/bench/load"
	"nearcast/bench/peers"
	"nearcast/bench/table"
)

// Loader is a table.Loader for the stage's servers.
func (s *Stage) Loader() table.Loader {
	return loader{&tls.Config{RootCAs: s.roots, ServerName: Host, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}}
}

type loader struct{ tls *tls.Config }

// Load keeps requests under way, in a closed loop.
func (l loader) Load(ctx context.Context, o table.Load) (table.Loaded, error) {
	var begin, end error
	url := "https://" + Host + "/{size}"
	protocol := map[peers.Protocol]string{peers.HTTP1: load.HTTP1, peers.HTTP1TLS: load.HTTP1, peers.HTTP2: load.HTTP2, peers.HTTP3: load.HTTP3}[o.Protocol]
	if o.Protocol == peers.HTTP1 {
		url = "http://" + Host + "/{size}"
	}
	r, err := load.Run(ctx, load.Options{URL: url, Protocol: protocol, Address: o.Address, TLS: l.tls, Sizes: []int64{int64(o.Size)},
		Connections: o.Connections, Streams: o.Streams, Warmup: o.Warmup, Duration: o.Duration,
		Begin: func() { begin = o.Begin() }, End: func() { end = o.End() }})
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
func (l loader) Hold(ctx context.Context, o table.Load) error { return hold(ctx, l.tls, o, settling) }
