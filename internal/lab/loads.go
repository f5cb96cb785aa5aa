package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/origin"
)

const (
	// silence is how long a client's QUIC connection may hear nothing. Nothing else tells it that its packets go to another edge.
	silence     = 1500 * time.Millisecond
	requestTime = 5 * time.Second // a request with its connection and its repetition
	usualRate   = 20              // requests a second of each load, when nothing is measured but whether they fail
)

// protocols are those that every edge must serve.
func protocols() []bench.Protocol { return []bench.Protocol{bench.HTTP1, bench.HTTP2, bench.HTTP3} }

// services are the service's addresses, one of each family.
func services() []netip.Addr { return []netip.Addr{Service4, Service6} }

// request is what a client in a region asks the service at an address. Its connection is new; the region that answers is in the
// record's Field.
func (s *stage) request(name string, p bench.Protocol, service netip.Addr, path string) bench.Options {
	n := Namespace(Client, name)
	return bench.Options{
		URL: "https://" + Host + path, Protocol: p, Address: netip.AddrPortFrom(service, 443).String(),
		TLS: &tls.Config{RootCAs: s.roots}, Timeout: requestTime, Silence: silence, ResponseField: origin.RegionHeader,
		DialTCP: n.DialContext,
		ListenUDP: func() (net.PacketConn, error) {
			if service.Is6() {
				return n.ListenUDP("udp6", nil)
			}
			return n.ListenUDP("udp4", nil)
		},
	}
}

// load is one kind of request, made again and again.
type load struct {
	name    string
	options bench.Options
}

// usualLoads ask over every protocol and both families, on new connections and on kept ones. A request on a kept connection that breaks is
// repeated once on a new one, as browsers do.
func (s *stage) usualLoads(name, path string) []load {
	var loads []load
	for _, p := range protocols() {
		for _, service := range services() {
			family := map[bool]string{false: "IPv4", true: "IPv6"}[service.Is6()]
			fresh := s.request(name, p, service, path)
			fresh.Rate, fresh.Duration = s.rate, scenarioTime
			if s.rate == 0 {
				fresh.Rate = usualRate
			}
			kept := fresh
			kept.KeepAlive, kept.Retry = true, bench.RetryBroken
			loads = append(loads, load{fmt.Sprintf("%s %s new", p, family), fresh}, load{fmt.Sprintf("%s %s kept", p, family), kept})
		}
	}
	return loads
}

// running is a set of loads under way.
type running struct {
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	loads   []load
	results []*bench.Result // by load; nil when its options were wrong
	errs    []error
}

// start runs loads until stop.
func start(ctx context.Context, loads []load) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel, loads: loads, results: make([]*bench.Result, len(loads)), errs: make([]error, len(loads))}
	for i, l := range loads {
		r.wg.Go(func() { r.results[i], r.errs[i] = bench.Run(ctx, l.options) })
	}
	return r
}

// stop ends the loads and waits for the answers that are out. It fails when a load made no request, which would prove nothing. It may
// be called again.
func (r *running) stop() error {
	r.cancel()
	r.wg.Wait()
	errs := append([]error(nil), r.errs...)
	for i, result := range r.results {
		if result == nil || len(result.Records) == 0 {
			errs = append(errs, fmt.Errorf("%s: no request was made", r.loads[i].name))
		}
	}
	return errors.Join(errs...)
}

// failed reports whether a user would have seen an error.
func failed(r bench.Record) bool { return r.Class != bench.OK }

// under reports whether the request was under way at one of the given moments.
func under(r bench.Record, moments ...time.Time) bool {
	for _, t := range moments {
		if !r.Sent().After(t) && r.End().After(t) {
			return true
		}
	}
	return false
}

// failures are the requests that failed, without those under way at one of the given moments: what is under way when something breaks
// may be lost.
func failures(records []bench.Record, except ...time.Time) []bench.Record {
	var found []bench.Record
	for _, r := range records {
		if failed(r) && !under(r, except...) {
			found = append(found, r)
		}
	}
	return found
}

// firstFrom returns when the first request sent after a moment that succeeded and that ok accepts was sent.
func firstFrom(records []bench.Record, after time.Time, ok func(bench.Record) bool) (time.Time, bool) {
	for _, r := range records {
		if r.Sent().After(after) && !failed(r) && ok(r) {
			return r.Sent(), true
		}
	}
	return time.Time{}, false
}

// explain says of failed requests which, how many and why, for a report.
func explain(l load, result *bench.Result, failed []bench.Record, since time.Time) error {
	if len(failed) == 0 {
		return nil
	}
	const most = 3
	errs := []error{fmt.Errorf("%s: %d requests failed", l.name, len(failed))}
	for _, f := range failed[:min(most, len(failed))] {
		what := f.Class.String()
		if f.Status != 0 {
			what += fmt.Sprintf(", status %d from %s", f.Status, f.Edge)
		}
		errs = append(errs, fmt.Errorf("  sent %d ms after the event, lasted %d ms: %s",
			f.Sent().Sub(since).Milliseconds(), f.End().Sub(f.Sent()).Milliseconds(), what))
	}
	for class, example := range result.Examples {
		errs = append(errs, fmt.Errorf("  the first %q: %s", class, example))
	}
	return errors.Join(errs...)
}
