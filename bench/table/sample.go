package table

import (
	"context"
	"fmt"
	"time"
)

// sample is one run with one server.
func (r *Runner) sample(ctx context.Context, row Row, s Server) (Sample, error) {
	if row.Idle {
		return r.hold(ctx, row, s)
	}
	var before, after Usage
	load := r.load(row, s)
	load.Begin = func() (err error) { before, err = s.Usage(); return err }
	load.End = func() (err error) { after, err = s.Usage(); return err }
	saw, err := r.Loader.Load(ctx, load)
	if err != nil {
		return Sample{}, err
	}
	if saw.Failed > 0 {
		return Sample{}, fmt.Errorf("%d of %d requests failed: %s", saw.Failed, saw.Failed+saw.Requests, saw.Failure)
	}
	if saw.Requests == 0 || !after.At.After(before.At) {
		return Sample{}, fmt.Errorf("no request was answered in %v", saw.Elapsed.Round(time.Millisecond))
	}
	if err := s.Check(ctx, saw.Requests); err != nil {
		return Sample{}, err
	}
	sample := busy(before, after)
	sample.Value = micros(after.CPU-before.CPU) / float64(saw.Requests)
	sample.Requests, sample.P50, sample.P99 = saw.Requests, micros(saw.P50), micros(saw.P99)
	sample.PerSecond = float64(saw.Requests) / saw.Elapsed.Seconds()
	return sample, nil
}

// hold measures the memory of idle connections.
func (r *Runner) hold(ctx context.Context, row Row, s Server) (Sample, error) {
	before, err := s.Usage()
	if err != nil {
		return Sample{}, err
	}
	bytes, err := r.Loader.Hold(ctx, r.load(row, s), s.Processes())
	if err != nil {
		return Sample{}, err
	}
	after, err := s.Usage()
	if err != nil {
		return Sample{}, err
	}
	sample := busy(before, after)
	sample.Value, sample.Requests = bytes/1024, int64(row.Connections)
	return sample, nil
}

func (r *Runner) load(row Row, s Server) Load {
	return Load{Protocol: row.Protocol, Address: s.Address(), Size: row.Body, Connections: row.Connections, Streams: row.Streams, Warmup: r.Warmup, Duration: r.Duration}
}

// busy is how busy everything was between the two.
func busy(before, after Usage) Sample {
	elapsed := after.At.Sub(before.At)
	share := func(d time.Duration) float64 {
		if elapsed <= 0 {
			return 0
		}
		return max(0, d.Seconds()/elapsed.Seconds())
	}
	return Sample{ServerCore: share(after.ServerCore - before.ServerCore), LoadCore: share(after.LoadCore - before.LoadCore),
		Server: share(after.CPU - before.CPU)}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
