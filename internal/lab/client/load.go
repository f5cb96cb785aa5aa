package client

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Sample is one request of a load.
type Sample struct {
	Start    time.Time
	End      time.Time
	Edge     string // who answered
	Origin   string // whose response it is, from the field that the load was told
	Status   int
	Repeated bool
	Err      error
}

// Failed reports whether a user would have seen an error.
func (s Sample) Failed() bool { return s.Err != nil || s.Status >= 400 }

// Load asks for one path again and again at a fixed rate, whether or not earlier requests have been answered.
type Load struct {
	Name        string
	Config      Config
	Path        string
	Interval    time.Duration
	OriginField string // response field that names the origin
}

// maxOutstanding bounds the requests of one load that wait for an answer. More would only measure the machine.
const maxOutstanding = 1000

// Run asks until ctx is done, then waits for the answers that are out, and returns a sample for each request in the order they were sent.
func (l Load) Run(ctx context.Context) []Sample {
	c := New(l.Config)
	defer c.Close()
	var (
		mu      sync.Mutex
		samples []Sample
		out     sync.WaitGroup
		slots   = make(chan struct{}, maxOutstanding)
		tick    = time.NewTicker(l.Interval)
	)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			out.Wait()
			return samples
		case <-tick.C:
		}
		mu.Lock()
		samples = append(samples, Sample{Start: time.Now(), Err: fmt.Errorf("%s: more than %d requests are waiting", l.Name, maxOutstanding)})
		i := len(samples) - 1
		mu.Unlock()
		select {
		case slots <- struct{}{}:
		default:
			continue
		}
		out.Go(func() {
			defer func() { <-slots }()
			sample := l.ask(context.WithoutCancel(ctx), c)
			mu.Lock()
			defer mu.Unlock()
			samples[i] = sample
		})
	}
}

func (l Load) ask(ctx context.Context, c *Client) Sample {
	s := Sample{Start: time.Now()}
	res, err := c.Get(ctx, l.Path)
	s.End, s.Err, s.Edge, s.Status, s.Repeated = time.Now(), err, res.Edge, res.Status, res.Repeated
	if res.Header != nil {
		s.Origin = res.Header.Get(l.OriginField)
	}
	return s
}

// Under reports whether the request was under way at one of the given moments.
func (s Sample) Under(moments ...time.Time) bool {
	for _, t := range moments {
		if !s.Start.After(t) && s.End.After(t) {
			return true
		}
	}
	return false
}

// Failures are the samples that failed, without those under way at one of the given moments: what is under way when something
// breaks may be lost.
func Failures(samples []Sample, except ...time.Time) []Sample {
	var failed []Sample
	for _, s := range samples {
		if s.Failed() && !s.Under(except...) {
			failed = append(failed, s)
		}
	}
	return failed
}

// FirstFrom returns when the first request sent after a moment that ok accepts was sent.
func FirstFrom(samples []Sample, after time.Time, ok func(Sample) bool) (time.Time, bool) {
	for _, s := range samples {
		if s.Start.After(after) && !s.Failed() && ok(s) {
			return s.Start, true
		}
	}
	return time.Time{}, false
}

// Gap is the longest time between the starts of two successive requests that succeeded.
func Gap(samples []Sample) time.Duration {
	var longest time.Duration
	var last time.Time
	for _, s := range samples {
		if s.Failed() {
			continue
		}
		if !last.IsZero() {
			longest = max(longest, s.Start.Sub(last))
		}
		last = s.Start
	}
	return longest
}
