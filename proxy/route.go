package proxy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"nearcast/cache"
	"nearcast/geo"
	"nearcast/health"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// route finds the service for the request's host and path.
func (p *Proxy) route(x *exchange) error {
	if x.service == nil {
		x.service = p.table.find(hostOf(x.r.Authority), x.r.Target.Path)
	}
	if x.service == nil {
		// 421 and not 404: this edge does not speak for that host, and a client that came here over
		// a connection it shares between hosts may ask again over another (RFC 9110 §15.5.20).
		return errNoService
	}
	return nil
}

// table is the routing table. It never changes.
type table struct {
	services []*service
	exact    map[string][]pathRoute
	wildcard map[string][]pathRoute // by what follows "*."
	any      []pathRoute
}

// pathRoute is one path prefix of one host; the longest stand first.
type pathRoute struct {
	prefix  string
	service *service
}

// service is one configured service.
type service struct {
	name     string
	logged   string // its member in the access log
	cfg      ServiceConfig
	policy   *cache.Policy
	origins  []*origin
	meters   *serviceMeters
	rotation rotation
	turns    [workKinds]atomic.Uint32 // of what is shed
	trials   trials
	careful  bool // nothing is done before the handshake is complete
}

// origin is one origin of a service.
type origin struct {
	id       health.ID
	region   string
	logged   string // its members in the access log
	location geo.Location
	placed   bool // location is known
	url      *url.URL
	conn     *upstream.Origin
	probe    health.Probe
	meters   *originMeters
	suspect  suspicion
}

func newTable(o *Options, m *meters) (*table, error) {
	t := &table{exact: map[string][]pathRoute{}, wildcard: map[string][]pathRoute{}}
	names := make([]string, 0, len(o.Services))
	for name := range o.Services {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s, err := newService(name, o.Services[name], o, m)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		t.add(s)
	}
	t.sortPaths()
	return t, nil
}

func (t *table) add(s *service) {
	t.services = append(t.services, s)
	for _, host := range s.cfg.Hosts {
		for _, prefix := range s.cfg.Paths {
			route := pathRoute{CanonicalPath(prefix), s}
			if host = strings.ToLower(host); host == "*" {
				t.any = append(t.any, route)
			} else if suffix, ok := strings.CutPrefix(host, "*."); ok {
				t.wildcard[suffix] = append(t.wildcard[suffix], route)
			} else {
				t.exact[host] = append(t.exact[host], route)
			}
		}
	}
}

func (t *table) sortPaths() {
	longest := func(r []pathRoute) {
		slices.SortStableFunc(r, func(a, b pathRoute) int { return len(b.prefix) - len(a.prefix) })
	}
	for _, m := range []map[string][]pathRoute{t.exact, t.wildcard} {
		for _, r := range m {
			longest(r)
		}
	}
	longest(t.any)
}

// find returns the service for a host and a normalised path: an exact name before a wildcard, a longer wildcard before a shorter
// one, "*" last; within one name the longest path prefix. A name whose paths don't match does not fall through to a wider one.
func (t *table) find(host, path string) *service {
	if r, ok := t.exact[host]; ok {
		return matchPath(r, path)
	}
	for rest := host; len(t.wildcard) > 0; {
		_, suffix, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		if r, ok := t.wildcard[suffix]; ok {
			return matchPath(r, path)
		}
		rest = suffix
	}
	return matchPath(t.any, path)
}

func matchPath(routes []pathRoute, path string) *service {
	for _, r := range routes {
		if rest, ok := strings.CutPrefix(path, r.prefix); ok && (r.prefix == "/" || rest == "" || rest[0] == '/') {
			return r.service
		}
		if path == "*" && r.prefix == "/" {
			return r.service
		}
	}
	return nil
}

// hostOf strips the port and a trailing dot of an authority in its canonical form.
func hostOf(authority string) string {
	host := authority
	if strings.HasPrefix(host, "[") {
		return host[:strings.IndexByte(host, ']')+1]
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

func (t *table) close() {
	for _, s := range t.services {
		for _, o := range s.origins {
			o.conn.Close()
		}
	}
}

func (t *table) targets() []health.Target {
	var out []health.Target
	for _, s := range t.services {
		for _, o := range s.origins {
			out = append(out, health.Target{ID: o.id, Config: s.cfg.Health, Probe: o.probe})
		}
	}
	return out
}

// probeHost is the Host field of the service's health probes.
func (s *service) probeHost(o *origin) string {
	if s.cfg.Health.Host != "" {
		return s.cfg.Health.Host
	}
	for _, h := range s.cfg.Hosts {
		if !strings.Contains(h, "*") {
			return h
		}
	}
	return o.url.Host
}

var errNoService = clientError(421, "no service for this host and path")

var (
	_ message.QuickHandler = (*Proxy)(nil)
	_ message.Refuser      = (*Proxy)(nil)
)
