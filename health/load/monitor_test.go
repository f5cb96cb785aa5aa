package load

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// steps is a Source that gives one value after the other, and the last again and again. A negative one can't be read.
type steps []float64

func (s *steps) Sample(time.Time) (Reading, error) {
	v := (*s)[0]
	if len(*s) > 1 {
		*s = (*s)[1:]
	}
	if v < 0 {
		return Reading{}, errors.New("no such file")
	}
	return Reading{Value: v, Detail: "some"}, nil
}

// quickConfig is the default without any durations.
func quickConfig() Config {
	var c Config
	c.SetDefaults()
	c.Recover.For, c.CPU.For, c.Memory.For, c.SchedulingLatency.For = 0, 0, 0, 0
	return c
}

func (s *State) signal(name string) Signal {
	for _, g := range s.Signals {
		if g.Name == name {
			return g
		}
	}
	return Signal{}
}

func TestTheMonitorWakesOnAChangeAndTellsTheWorst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := New(quickConfig(), Sources{CPU: &steps{0.1, 0.95, 0.95, 0.5}, Descriptors: &steps{0.1, 0.1, 0.96, 0.1}},
			Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if st := m.Snapshot(); st.Level != OK || st.signal(CPU).Level != Unknown {
			t.Errorf("before the first sample: %+v", st)
		}
		changed := m.Subscribe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		start := time.Now()
		go func() { defer close(done); m.Run(ctx) }()
		for i, want := range []struct {
			level  Level
			detail string
		}{{OK, ""}, {High, "cpu 0.95 (some)"}, {Critical, "descriptors 0.96 (some)"}, {OK, ""}} {
			synctest.Wait()
			st := m.Snapshot()
			if st.Level != want.level || st.Detail != want.detail {
				t.Errorf("sample %d: %v %q, want %v %q", i, st.Level, st.Detail, want.level, want.detail)
			}
			woken := false
			select {
			case <-changed:
				woken = true
			default:
			}
			if woken != (i > 0) || i > 0 && st.Since.Sub(start) != time.Duration(i)*time.Second {
				t.Errorf("sample %d: woken %v, since %v", i, woken, st.Since.Sub(start))
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		select {
		case <-changed:
			t.Error("woken without a change")
		default:
		}
		cancel()
		<-done
		for _, want := range []string{`level=high was=ok signals="cpu 0.95 (some)"`, `level=critical was=high signals="descriptors 0.96 (some)"`, "the load is over"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, log.String())
			}
		}
	})
}

func TestWhatCannotBeReadIsSaidOnceAndIsNoLoad(t *testing.T) {
	var log bytes.Buffer
	cfg := quickConfig()
	m := New(cfg, Sources{Memory: &steps{0.99, -1, 0.1, -1, -1}, CPUPressure: &steps{-1}, Connections: Limited(func() (int64, int64) { return 5, 0 }),
		AcceptQueue: AcceptQueues(func() ([]Queue, error) { return nil, nil })},
		Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	now := time.Unix(1e9, 0)
	for i, want := range []Level{Critical, Unknown, OK, Unknown, Unknown} {
		m.sample(now.Add(time.Duration(i) * time.Second))
		st := m.Snapshot()
		if got := st.signal(Memory); got.Level != want || got.Latest != want || want == Unknown && (got.Value != 0 || got.Detail != "no such file") {
			t.Errorf("sample %d: %+v, want %v", i, got, want)
		}
		if st.Level != max(want, OK) {
			t.Errorf("sample %d: %v", i, st.Level)
		}
		for _, name := range []string{Connections, AcceptQueue, Descriptors} {
			if got := st.signal(name); got.Level != Unknown || got.Detail != "no limit" {
				t.Errorf("%s without a limit: %+v", name, got)
			}
		}
	}
	if n := strings.Count(log.String(), "can't be read"); n != 1 || !strings.Contains(log.String(), "signal=memory") {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

func TestASnapshotNeverChanges(t *testing.T) {
	m := New(quickConfig(), Sources{CPU: &steps{0.1, 0.99}}, Options{})
	m.sample(time.Unix(1e9, 0))
	st := m.Snapshot()
	m.sample(time.Unix(1e9+1, 0))
	if st.Level != OK || st.signal(CPU).Value != 0.1 {
		t.Errorf("%+v", st)
	}
	if m.Snapshot().Level != Critical {
		t.Error("the next sample does not count")
	}
}

func TestEverySampleIsHandedOn(t *testing.T) {
	var got []Level
	m := New(quickConfig(), Sources{CPU: &steps{0.1, 0.95, 0.95, 0.99}}, Options{After: func(s State) { got = append(got, s.Level) }})
	for i := range 4 {
		m.sample(time.Unix(1e9+int64(i), 0))
	}
	if len(got) != 4 || got[1] != High || got[2] != High || got[3] != Critical {
		t.Error(got)
	}
}

func TestMetricsHaveTheirTexts(t *testing.T) {
	set := metrics.NewSet()
	m := New(quickConfig(), Sources{CPU: &steps{0.95}}, Options{Set: set})
	m.sample(time.Unix(1e9, 0))
	var b bytes.Buffer
	set.WritePrometheus(&b)
	seen := map[string]bool{}
	for line := range strings.Lines(b.String()) {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		seen[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no text", name)
		}
	}
	for name := range MetricHelp {
		if !seen[name] {
			t.Errorf("%s is not there", name)
		}
	}
	for _, want := range []string{"nearcast_load_level 1\n", `nearcast_load_signal_value{signal="cpu"} 0.95`, `nearcast_load_signal_level{signal="cpu"} 1`,
		`nearcast_load_signal_level{signal="memory"} -1`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing in\n%s", want, b.String())
		}
	}
}
