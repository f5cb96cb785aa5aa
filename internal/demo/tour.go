package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"nearcast/bench"
)

// stepPatience bounds each wait of the tour.
const stepPatience = 15 * time.Second

// tour shows the main job step by step and remembers what did not hold.
type tour struct {
	cluster *cluster
	failed  []string
}

// run takes all steps, and returns an error that names those that did not hold.
func (t *tour) run(ctx context.Context) error {
	for _, s := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Every client reaches the edge of its own region, over HTTP/1.1, HTTP/2 and HTTP/3", t.nearestEdge},
		{"A cacheable object is fetched once and then served by the edge", t.cached},
		{"The origin in tyo is killed: dynamic requests go to the next nearest origin", t.originDies},
		{"The origin in tyo is back", t.originReturns},
		{"The edge in tyo is killed (-9): the route moves to the next nearest edge", t.edgeDies},
		{"The edge in tyo is back", t.edgeReturns},
		{"The edge in fra is stopped as planned (-TERM): withdraw, drain, close", t.edgeStops},
		{"The edge in fra is back", t.edgeStarts},
	} {
		t.cluster.screen.say("== %s", s.title)
		stepCtx, cancel := context.WithTimeout(ctx, 2*stepPatience)
		err := s.do(stepCtx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			t.failed = append(t.failed, s.title)
			t.cluster.screen.say("   FAILED: %v", err)
		default:
			t.cluster.screen.say("   ok")
		}
	}
	if len(t.failed) > 0 {
		return fmt.Errorf("%d steps of the tour did not hold: %s", len(t.failed), strings.Join(t.failed, "; "))
	}
	return nil
}

// load is what a client in a place asks for.
func (t *tour) load(from int, p bench.Protocol, path string) bench.Options {
	return bench.Options{URL: places[from].url(t.cluster.ports, path), Protocol: p, Rate: 20, Duration: time.Minute, Timeout: 5 * time.Second,
		TLS: &tls.Config{RootCAs: t.cluster.authority.Pool()}, Retry: bench.RetryIdleClosed, ResponseField: originField}
}

// ask makes one request.
func (t *tour) ask(ctx context.Context, o bench.Options) (bench.Record, error) {
	rec, err := bench.Once(ctx, o)
	if err != nil {
		return rec, fmt.Errorf("%s %s: %s: %w", o.Protocol, o.URL, rec.Class, err)
	}
	return rec, nil
}

// askUntil asks until the answer is as wanted.
func (t *tour) askUntil(ctx context.Context, o bench.Options, wanted func(bench.Record) bool) (bench.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	for {
		rec, err := t.ask(ctx, o)
		if err == nil && wanted(rec) {
			return rec, nil
		}
		select {
		case <-ctx.Done():
			return rec, errors.Join(fmt.Errorf("still answered by %q, origin %q", rec.Edge, rec.Field), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (t *tour) nearestEdge(ctx context.Context) error {
	t.cluster.screen.print(routeTable(t.cluster.rib.load()))
	for i, p := range places {
		for _, proto := range []bench.Protocol{bench.HTTP1, bench.HTTP2, bench.HTTP3} {
			rec, err := t.ask(ctx, t.load(i, proto, "/dynamic"))
			if err != nil {
				return err
			}
			t.cluster.screen.say("   client in %s, %s: edge %s, origin %s, %v", p.name, proto, rec.Edge, rec.Field, rec.Latency.Round(100*time.Microsecond))
			if rec.Edge != p.edgeName() || rec.Field != p.name {
				return fmt.Errorf("wanted edge %s and origin %s", p.edgeName(), p.name)
			}
		}
	}
	return nil
}

func (t *tour) cached(ctx context.Context) error {
	o := t.load(tyo, bench.HTTP2, "/static/logo")
	o.ResponseField = "Cache-Status"
	for _, want := range []string{"fwd=", "hit"} {
		rec, err := t.ask(ctx, o)
		if err != nil {
			return err
		}
		t.cluster.screen.say("   Cache-Status: %s", rec.Field)
		if !strings.Contains(rec.Field, want) {
			return fmt.Errorf("wanted %q in Cache-Status", want)
		}
	}
	return nil
}

func (t *tour) originDies(ctx context.Context) error {
	loads := t.begin(ctx, t.load(tyo, bench.HTTP1, "/dynamic"), t.load(tyo, bench.HTTP2, "/dynamic"))
	defer loads.end()
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	died := time.Now()
	t.cluster.origin(tyo).kill()
	_, err := t.askUntil(ctx, t.load(tyo, bench.HTTP1, "/dynamic"), func(r bench.Record) bool { return r.Field == places[fra].name })
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil { // the health checks notice meanwhile
		return err
	}
	failed := 0
	for _, r := range loads.end() {
		t.cluster.screen.say("   %v", r)
		for _, rec := range r.Since(died).Records {
			if rec.Field == places[fra].name {
				t.cluster.screen.say("   first answer of the origin in fra to a request %v after the kill", rec.Start.Sub(died).Round(time.Millisecond))
				break
			}
		}
		failed += r.Failed
	}
	if failed > 2 {
		return fmt.Errorf("%d requests failed; only those in flight may", failed)
	}
	return nil
}

func (t *tour) originReturns(ctx context.Context) error {
	if err := t.cluster.startOrigin(ctx, tyo); err != nil {
		return err
	}
	_, err := t.askUntil(ctx, t.load(tyo, bench.HTTP1, "/dynamic"), func(r bench.Record) bool { return r.Field == places[tyo].name })
	return err
}

func (t *tour) edgeDies(ctx context.Context) error {
	var options []bench.Options
	for _, p := range []bench.Protocol{bench.HTTP1, bench.HTTP2, bench.HTTP3} {
		o := t.load(tyo, p, "/dynamic")
		o.Rate = 50
		options = append(options, o)
	}
	loads := t.begin(ctx, options...)
	defer loads.end()
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	died := time.Now()
	t.cluster.edge(tyo).kill()
	moved, err := t.awaitRoute(ctx, tyo, fra)
	if err != nil {
		return err
	}
	t.cluster.screen.say("   the route moved %v after the kill", moved.Sub(died).Round(100*time.Microsecond))
	if err := pause(ctx, 1500*time.Millisecond); err != nil {
		return err
	}
	for _, r := range loads.end() {
		t.cluster.screen.say("   %v", r)
		rec, ok := r.FirstByAnother(places[tyo].edgeName(), died)
		if !ok {
			return fmt.Errorf("%v has no answer of another edge", r)
		}
		t.cluster.screen.say("   first answer of %s to a request %v after the kill", rec.Edge, rec.Start.Sub(died).Round(time.Millisecond))
		if r.Gap > 5*time.Second {
			return fmt.Errorf("clients were without an answer for %v", r.Gap)
		}
	}
	return nil
}

func (t *tour) edgeReturns(ctx context.Context) error { return t.bringBack(ctx, tyo) }
func (t *tour) edgeStarts(ctx context.Context) error  { return t.bringBack(ctx, fra) }

// bringBack starts a place's edge and waits until its clients are served by it again.
func (t *tour) bringBack(ctx context.Context, place int) error {
	start := time.Now()
	if err := t.cluster.startEdge(ctx, place); err != nil {
		return err
	}
	back, err := t.awaitRoute(ctx, place, place)
	if err != nil {
		return err
	}
	t.cluster.screen.say("   the route is back %v after the start", back.Sub(start).Round(10*time.Millisecond))
	_, err = t.askUntil(ctx, t.load(place, bench.HTTP2, "/dynamic"), func(r bench.Record) bool {
		return r.Edge == places[place].edgeName() && r.Field == places[place].name
	})
	return err
}

func (t *tour) edgeStops(ctx context.Context) error {
	var options []bench.Options
	for _, p := range []bench.Protocol{bench.HTTP1, bench.HTTP2, bench.HTTP3} {
		fresh := t.load(fra, p, "/dynamic")
		kept := fresh
		kept.KeepAlive, kept.Connections = true, 2
		options = append(options, fresh, kept)
	}
	loads := t.begin(ctx, options...)
	defer loads.end()
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	begun := time.Now()
	if err := t.cluster.edge(fra).stop(stopPatience); err != nil {
		return err
	}
	t.cluster.screen.say("   fra-1 stopped within %v", time.Since(begun).Round(10*time.Millisecond))
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	failed := 0
	for _, r := range loads.end() {
		t.cluster.screen.say("   %v", r)
		for _, rec := range r.Records {
			if rec.Class != bench.OK {
				t.cluster.screen.say("     %v after SIGTERM: %s", rec.Start.Sub(begun).Round(time.Millisecond), r.Examples[rec.Class])
			}
		}
		if _, ok := r.FirstByAnother(places[fra].edgeName(), begun); !ok {
			return fmt.Errorf("%v has no answer of another edge", r)
		}
		failed += r.Failed
	}
	if failed > 0 {
		return fmt.Errorf("%d requests failed; a planned stop must fail none", failed)
	}
	return nil
}

// awaitRoute waits until clients in a place go to an edge, and says since when.
func (t *tour) awaitRoute(ctx context.Context, from, to int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	now, err := t.cluster.rib.await(ctx, func(now *table) bool {
		e, ok := now.nearest(from)
		return ok && e == to
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("clients in %s don't go to %s after %v", places[from].name, places[to].edgeName(), stepPatience)
	}
	return now.since, nil
}

// loads are clients at work.
type loads struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	results []*bench.Result
}

// begin starts clients.
func (t *tour) begin(ctx context.Context, options ...bench.Options) *loads {
	ctx, cancel := context.WithCancel(ctx)
	l := &loads{stop: cancel, results: make([]*bench.Result, len(options))}
	for i, o := range options {
		l.running.Go(func() {
			r, err := bench.Run(ctx, o)
			if err != nil {
				panic(err) // the options are this file's
			}
			l.results[i] = r
		})
	}
	return l
}

// end stops the clients and returns what became of their requests, in the order of begin.
func (l *loads) end() []*bench.Result {
	l.stop()
	l.running.Wait()
	return l.results
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
