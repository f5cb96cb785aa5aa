package client

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestLoadKeepsItsRateAndItsOrder(t *testing.T) {
	cfg := server(t)
	for _, protocol := range []Protocol{H1, H2, H3} {
		cfg.Protocol, cfg.Fresh = protocol, protocol != H2
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		samples := Load{Name: "x", Config: cfg, Path: "/", Interval: 10 * time.Millisecond}.Run(ctx)
		cancel()
		if len(samples) < 3 || len(samples) > 31 {
			t.Errorf("%s: %d samples", protocol, len(samples))
		}
		for i, s := range samples {
			if s.Failed() || s.Edge != "tyo-1" || i > 0 && s.Start.Before(samples[i-1].Start) {
				t.Errorf("%s: sample %d: %+v", protocol, i, s)
			}
		}
	}
}

func TestReadingSamples(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	lost := errors.New("connection reset")
	samples := []Sample{
		{Start: at(0), End: at(5), Edge: "nyc-1", Status: 200},
		{Start: at(10), End: at(60), Edge: "nyc-1", Err: lost}, // out when the edge died at 20
		{Start: at(30), End: at(31), Err: lost},
		{Start: at(40), End: at(41), Edge: "fra-1", Status: 502},
		{Start: at(50), End: at(90), Edge: "fra-1", Status: 200},
	}
	if got := Failures(samples); len(got) != 3 {
		t.Errorf("failures: %d", len(got))
	}
	if got := Failures(samples, at(20)); len(got) != 2 || !got[0].Start.Equal(at(30)) {
		t.Errorf("failures but for those in flight: %+v", got)
	}
	if got := Gap(samples); got != 50*time.Millisecond {
		t.Errorf("gap %v", got)
	}
	first, ok := FirstFrom(samples, at(20), func(s Sample) bool { return s.Edge == "fra-1" })
	if !ok || !first.Equal(at(50)) {
		t.Errorf("first %v %v: a failed answer is none", first, ok)
	}
	if _, ok := FirstFrom(samples, at(50), func(Sample) bool { return true }); ok {
		t.Error("something after the end")
	}
}
