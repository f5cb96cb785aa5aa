package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/browser"
	"nearcast/internal/pki"
)

// reach: every client gets its own region's edge, and through it the region's own origin.
func reach(ctx context.Context, s *stage) {
	for _, name := range Regions() {
		row := s.newRow(name)
		var errs []error
		for _, p := range protocols() {
			for _, service := range services() {
				row.Requests++
				if err := s.reachOne(ctx, name, p, service); err != nil {
					row.Failed++
					errs = append(errs, fmt.Errorf("%s at %s: %w", p, service, err))
				}
			}
		}
		s.add(row, errors.Join(errs...))
	}
}

func (s *stage) reachOne(ctx context.Context, name string, p bench.Protocol, service netip.Addr) error {
	r, err := bench.Once(ctx, s.request(name, p, service, "/dynamic"))
	if err == nil && (r.Status != 200 || !of(r, name) || r.Field != name) {
		err = fmt.Errorf("status %d from edge %q and the origin of %q", r.Status, r.Edge, r.Field)
	}
	return err
}

// securedSessions: the routers insist on the key and the hop limit (TestSessionsAndRoutes), so an established session has them.
func securedSessions(ctx context.Context, s *stage) {
	for _, r := range regions {
		if !r.Secured {
			continue
		}
		session, err := s.lab.Session(ctx, edgeName(r.Name))
		if err == nil && !session.Established {
			err = fmt.Errorf("the session is %s", session.State)
		}
		s.row(r.Name, err)
	}
}

// cacheOnce: requests over all protocols and both families, one fetch from one origin.
func cacheOnce(ctx context.Context, s *stage) {
	const name, requests = "tyo", 24
	path := "/static/" + strconv.FormatInt(time.Now().UnixNano(), 36)
	row := s.newRow(name)
	var errs []error
	for i := range requests {
		p := protocols()[i%3]
		r, err := bench.Once(ctx, s.request(name, p, services()[i/3%2], path))
		row.Requests++
		if err == nil && (r.Status != 200 || !of(r, name) || r.Bytes != 1024) {
			err = fmt.Errorf("status %d, %d bytes from %s", r.Status, r.Bytes, r.Edge)
		}
		if err != nil {
			row.Failed++
			errs = append(errs, fmt.Errorf("request %d over %s: %w", i, p, err))
		}
	}
	for _, other := range Regions() {
		counts, err := s.counts(ctx, other)
		want := uint64(0)
		if other == name {
			want = 1
		}
		if err == nil && counts.Paths[path] != want {
			err = fmt.Errorf("the origin of %s was asked %d times, not %d", other, counts.Paths[path], want)
		}
		errs = append(errs, err)
	}
	s.add(row, errors.Join(errs...))
}

// nearestOrigin: Tokyo's origin dies and returns; the route stays, the answers come from the next nearest meanwhile.
func nearestOrigin(ctx context.Context, s *stage) {
	const name = "tyo"
	row := s.newRow(name)
	load := start(ctx, s.usualLoads(name, "/dynamic"))
	defer load.stop()
	s.fill(&row, func() error {
		if err := pause(ctx, calm); err != nil {
			return err
		}
		death := time.Now()
		if err := s.lab.KillOrigin(ctx, name); err != nil {
			return err
		}
		dead := time.Now()
		if err := pause(ctx, 3*time.Second); err != nil { // more than the probes need
			return err
		}
		if route, err := s.lab.Route(ctx, name, Prefix4); err != nil || !own(route) {
			return fmt.Errorf("the route did not stay: %s, %w", route, err)
		}
		birth := time.Now()
		if err := s.lab.StartOrigin(name); err != nil {
			return err
		}
		if err := s.awaitOrigin(ctx, name); err != nil {
			return err
		}
		row.Back = time.Since(birth)
		if err := pause(ctx, calm); err != nil {
			return err
		}
		if err := load.stop(); err != nil {
			return err
		}
		return judgeOrigins(&row, load, name, death, dead, birth)
	})
}

// fill adds the row after f has filled it.
func (s *stage) fill(row *Row, f func() error) {
	err := f()
	s.add(*row, err)
}

// judgeOrigins says where the answers must have come from: home, then the next nearest, then home again. The origin was killed at death and
// certainly gone at dead; what was under way then may be lost.
func judgeOrigins(row *Row, load *running, name string, death, dead, birth time.Time) error {
	var errs []error
	for i, result := range load.results {
		lost := failures(result.Records, death, dead)
		row.Requests += len(result.Records)
		row.Failed += len(lost)
		errs = append(errs, explain(load.loads[i], result, lost, death))
		first, ok := firstFrom(result.Records, death, func(r bench.Record) bool { return r.Field == nextTo(name) })
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no answer from the origin of %s", load.loads[i].name, nextTo(name)))
			continue
		}
		row.Elsewhere = max(row.Elsewhere, first.Sub(death))
		for _, r := range result.Records {
			if r.Sent().After(dead) && r.End().Before(birth) && !failed(r) && r.Field != nextTo(name) {
				errs = append(errs, fmt.Errorf("%s: an answer from the origin of %q while %s is nearest", load.loads[i].name, r.Field, nextTo(name)))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// realBrowser: one Chromium in Tokyo loads a page twice, and the route moves in between.
func realBrowser(ctx context.Context, s *stage) {
	const name = "tyo"
	row := s.newRow(name)
	s.fill(&row, func() error {
		var keys []string
		for _, other := range Regions() {
			hash, err := pki.KeyHash(filepath.Join(edgeDir(edgeName(other)), "edge.pem"))
			if err != nil {
				return err
			}
			keys = append(keys, hash)
		}
		b, err := browser.Start(ctx, browser.Config{
			Namespace: Namespace(Client, name), Dir: filepath.Join(stateDir, "browser-"+strconv.FormatInt(time.Now().UnixNano(), 36)),
			Log: s.lab.LogFile("browser"), Host: Host, Address: Service4, KeyHashes: keys,
		})
		if err != nil {
			return err
		}
		defer b.Close()
		if err := s.show(ctx, b, &row, name); err != nil {
			return err
		}
		event := time.Now()
		if err := s.lab.SignalEdge(edgeName(name), sigterm); err != nil {
			return err
		}
		if err := s.lab.awaitRoutes(ctx, name, "the withdrawal", notOwn, Prefix4, Prefix6); err != nil {
			return err
		}
		row.Withdrawn = time.Since(event)
		if err := s.awaitTakeover(ctx, name); err != nil {
			return err
		}
		if err := s.show(ctx, b, &row, nextTo(name)); err != nil {
			return err
		}
		row.Elsewhere = time.Since(event)
		return s.lab.StopEdge(ctx, edgeName(name)) // it may still be draining
	})
}

// show loads the page and checks that it came over HTTP/3 from the region's origin.
func (s *stage) show(ctx context.Context, b *browser.Browser, row *Row, region string) error {
	patience, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	row.Requests++
	page, err := b.Load(patience, "https://"+Host+"/page")
	if err == nil && (page.Protocol != "h3" || page.Region != region) {
		err = fmt.Errorf("the page came over %q from the origin of %q, not over h3 from %s", page.Protocol, page.Region, region)
	}
	if err != nil {
		row.Failed++
	}
	return err
}
