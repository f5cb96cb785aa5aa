package lab

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"nearcast/internal/lab/client"
	"nearcast/internal/lab/origin"
)

// stage is where a scenario plays: the lab, with what scenarios do to it, and the rows that come of it.
type stage struct {
	lab      *Lab
	scenario string
	roots    *x509.CertPool
	rows     []Row
}

// row adds a finished row.
func (s *stage) row(name string, err error) { s.add(s.newRow(name), err) }

func (s *stage) newRow(name string) Row {
	row := Row{Scenario: s.scenario, Region: name}
	if r, err := region(name); err == nil {
		row.Router = string(r.Daemon)
	}
	return row
}

func (s *stage) add(row Row, err error) {
	row.Err = err
	s.rows = append(s.rows, row)
}

// reset returns once every origin and every edge runs and announces. It starts only what is missing.
func (s *stage) reset(ctx context.Context) error {
	for _, name := range Regions() {
		if _, err := s.lab.programs.Get(originProgram(name)); err != nil {
			if err := s.lab.StartOrigin(name); err != nil {
				return err
			}
		}
		if _, err := s.lab.EdgeProcess(name); err != nil {
			if err := s.lab.StartEdge(name, EdgeOptions{}); err != nil {
				return err
			}
		}
	}
	settle, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, name := range Regions() {
		if err := s.lab.awaitRoutes(settle, name, "the edge's routes", own, Prefix4, Prefix6); err != nil {
			return err
		}
		if err := s.awaitOrigin(settle, name); err != nil {
			return err
		}
	}
	return nil
}

// awaitOrigin returns once the region's own edge and own origin answer the region's client.
func (s *stage) awaitOrigin(ctx context.Context, name string) error {
	c := client.New(s.client(name, client.H1, Service4, true))
	defer c.Close()
	return await(ctx, "an answer of the origin of "+name, func() (bool, string, error) {
		res, err := c.Get(ctx, "/dynamic")
		return err == nil && res.Edge == edgeName(name) && res.Header.Get(origin.RegionHeader) == name,
			fmt.Sprintf("status %d from the origin of %q through %s", res.Status, res.Header.Get(origin.RegionHeader), res.Edge), err
	})
}

// replaceEdge restarts the region's edge with a varied configuration, without waiting for its routes.
func (s *stage) replaceEdge(ctx context.Context, name string, o EdgeOptions) error {
	if err := s.lab.StopEdge(ctx, name); err != nil {
		return err
	}
	return s.lab.StartEdge(name, o)
}

// client is a client in a region that asks the service at an address.
func (s *stage) client(name string, p client.Protocol, service netip.Addr, fresh bool) client.Config {
	return client.Config{Namespace: Namespace(Client, name), Protocol: p, Host: Host, Address: netip.AddrPortFrom(service, 443),
		Roots: s.roots, Fresh: fresh}
}

// usualLoads ask over every protocol, on new connections over IPv4 and on kept ones over IPv6.
func (s *stage) usualLoads(name, path string) []client.Load {
	var loads []client.Load
	for _, p := range []client.Protocol{client.H1, client.H2, client.H3} {
		loads = append(loads,
			client.Load{Name: string(p) + " new", Config: s.client(name, p, Service4, true)},
			client.Load{Name: string(p) + " kept", Config: s.client(name, p, Service6, false)})
	}
	for i := range loads {
		loads[i].Path, loads[i].Interval, loads[i].OriginField = path, 40*time.Millisecond, origin.RegionHeader
	}
	return loads
}

// running is a set of loads under way.
type running struct {
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	loads   []client.Load
	samples [][]client.Sample // by load
}

// start runs loads until stop.
func start(ctx context.Context, loads []client.Load) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel, loads: loads, samples: make([][]client.Sample, len(loads))}
	for i, load := range loads {
		r.wg.Go(func() { r.samples[i] = load.Run(ctx) })
	}
	return r
}

// stop ends the loads and waits for the answers that are out. It may be called again.
func (r *running) stop() {
	r.cancel()
	r.wg.Wait()
}

// nextTo is the region that takes over when the named one withdraws.
func nextTo(name string) string { return nearest(name)[0] }

func edgeName(name string) string {
	r, _ := region(name)
	return r.EdgeName()
}

// counts asks a region's origin, past all edges, what it has been asked for.
func (s *stage) counts(ctx context.Context, name string) (origin.Counts, error) {
	r, err := region(name)
	if err != nil {
		return origin.Counts{}, err
	}
	_, _, own4, _ := r.addresses(Origin)
	transport := &http.Transport{DialContext: Namespace(Client, name).DialContext, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+net.JoinHostPort(own4.String(), strconv.Itoa(originPort))+"/count", nil)
	if err != nil {
		return origin.Counts{}, err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return origin.Counts{}, err
	}
	defer res.Body.Close()
	var counts origin.Counts
	return counts, json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&counts)
}

// logSince returns what a program has logged since a place in its log, and the place to go on from.
func (s *stage) logSince(name string, offset int64) (string, int64, error) {
	f, err := os.Open(s.lab.LogFile(name))
	if err != nil {
		return "", offset, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, offset, 16<<20))
	return string(data), offset + int64(len(data)), err
}

// explain says of failed requests which, how many and why, for a report.
func explain(load client.Load, failed []client.Sample, since time.Time) error {
	if len(failed) == 0 {
		return nil
	}
	const most = 3
	errs := []error{fmt.Errorf("%s: %d requests failed", load.Name, len(failed))}
	for _, f := range failed[:min(most, len(failed))] {
		what := fmt.Sprintf("status %d", f.Status)
		if f.Err != nil {
			what = f.Err.Error()
		}
		errs = append(errs, fmt.Errorf("  sent %d ms after the event, lasted %d ms: %s",
			f.Start.Sub(since).Milliseconds(), f.End.Sub(f.Start).Milliseconds(), what))
	}
	return errors.Join(errs...)
}
