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
	"os"
	"strconv"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/origin"
)

// clearTime bounds the clearing up after a scenario that failed.
const clearTime = 20 * time.Second

// stage is where a scenario plays: the lab, with what scenarios do to it, and the rows that come of it.
type stage struct {
	lab      *Lab
	scenario string
	pairs    bool // every edge of a region runs, not only the first
	roots    *x509.CertPool
	rate     float64  // requests a second of each load, default usualRate
	short    bool     // less of what takes long
	clients  []string // of package quicload that take part
	plain    bool     // edges do not rescue each other's connections
	rows     []Row
	lost     error // of the event played last, what is to be said of failures that nothing excuses
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

func (s *stage) failed() bool { return Report{Rows: s.rows}.Failed() }

// clear stops every edge and the rogue neighbor. A scenario that failed may have left an edge deaf or with a varied configuration, which
// is not to be the next one's: reset starts them anew.
func (s *stage) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	var errs []error
	for _, e := range allSites() {
		errs = append(errs, s.lab.programs.Stop(ctx, edgeProgram(e.Name()), programGrace), s.lab.MendEdge(ctx, e.Name()))
	}
	for _, name := range Regions() {
		errs = append(errs, Namespace(Rogue, name).Delete(ctx))
	}
	return errors.Join(errs...)
}

// routers starts the routers that do not run, which a scenario that failed may have left.
func (s *stage) routers(ctx context.Context) error {
	for _, name := range Regions() {
		programs, err := s.lab.routers[name].Prepare()
		if err != nil {
			return err
		}
		for _, p := range programs {
			if _, err := s.lab.programs.Get(name + "-" + p.Name); err == nil {
				continue
			}
			if err := s.lab.RestartRouter(ctx, name); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// reset returns once every origin and every wanted edge runs and announces, and no other. It starts only what is missing.
func (s *stage) reset(ctx context.Context) error {
	if err := s.routers(ctx); err != nil {
		return err
	}
	for _, name := range Regions() {
		if _, err := s.lab.programs.Get(originProgram(name)); err != nil {
			if err := s.lab.StartOrigin(name); err != nil {
				return err
			}
		}
	}
	for _, e := range allSites() {
		_, err := s.lab.EdgeProcess(e.Name())
		switch wanted := e.Number == 1 || s.pairs; {
		case wanted && err != nil:
			err = s.lab.StartEdge(e.Name(), EdgeOptions{Plain: s.plain})
		case !wanted && err == nil:
			err = s.lab.StopEdge(ctx, e.Name())
		default:
			err = nil
		}
		if err != nil {
			return err
		}
	}
	settle, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, r := range regions {
		edges := 1
		if s.pairs {
			edges = int(r.Edges)
		}
		if err := s.lab.awaitRoutes(settle, r.Name, "the edges' routes", ownBy(edges), Prefix4, Prefix6); err != nil {
			return err
		}
		if err := s.awaitOrigin(settle, r.Name); err != nil {
			return err
		}
	}
	return nil
}

// awaitOrigin returns once the region's own edge and own origin answer the region's client over both families.
func (s *stage) awaitOrigin(ctx context.Context, name string) error {
	return s.awaitAnswer(ctx, "an answer of the origin of "+name, name, func(r bench.Record) bool {
		return of(r, name) && r.Field == name
	})
}

// awaitAnswer returns once a client in the region has got an answer as wanted at each of the service's addresses.
func (s *stage) awaitAnswer(ctx context.Context, what, name string, wanted func(bench.Record) bool) error {
	for _, service := range services() {
		err := await(ctx, fmt.Sprintf("%s at %s", what, service), func() (bool, string, error) {
			r, err := bench.Once(ctx, s.request(name, bench.HTTP1, service, "/dynamic"))
			return err == nil && wanted(r), fmt.Sprintf("status %d from the origin of %q through %s", r.Status, r.Field, r.Edge), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceEdge restarts an edge with a varied configuration, without waiting for its routes.
func (s *stage) replaceEdge(ctx context.Context, name string, o EdgeOptions) error {
	if err := s.lab.StopEdge(ctx, name); err != nil {
		return err
	}
	return s.lab.StartEdge(name, o)
}

// nextTo is the region that takes over when the named one withdraws.
func nextTo(name string) string { return nearest(name)[0] }

// edgeName is the name of the region's edge where one is meant.
func edgeName(name string) string {
	r, _ := region(name)
	return r.First().Name()
}

// of reports whether an edge of the region answered.
func of(r bench.Record, name string) bool {
	s, err := site(r.Edge)
	return err == nil && s.Region.Name == name
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
