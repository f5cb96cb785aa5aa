package proxy

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"

	"nearcast/geo"
	"nearcast/health"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

func newService(name string, cfg ServiceConfig, o *Options, m *meters) (*service, error) {
	s := &service{name: name, cfg: cfg, meters: m.service(name), careful: cfg.EarlyData == EarlyDataOff}
	roots, err := readRoots(cfg.Upstream.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	s.policy = &s.cfg.Cache
	s.logged = string(appendText(nil, `,"service":"`, name))
	regions := make([]string, 0, len(cfg.Origins))
	for region := range cfg.Origins {
		regions = append(regions, region)
	}
	slices.Sort(regions)
	for _, region := range regions {
		for _, raw := range cfg.Origins[region] {
			org, err := newOrigin(s, region, raw, roots, o, m)
			if err != nil {
				return nil, err
			}
			s.origins = append(s.origins, org)
		}
	}
	return s, nil
}

func newOrigin(s *service, region, raw string, roots *x509.CertPool, o *Options, m *meters) (*origin, error) {
	u, err := ParseOrigin(raw)
	if err != nil {
		return nil, fmt.Errorf("origin %s: %w", raw, err)
	}
	org := &origin{
		id:     health.ID{Service: s.name, Region: region, Name: raw},
		region: region,
		url:    u,
		meters: m.origin(s.name, raw),
	}
	org.logged = string(appendText(appendText(nil, `,"origin":"`, raw), `,"origin_region":"`, region))
	org.location, org.placed = originLocation(u, region, o)
	org.conn, err = upstream.New(u, upstream.Config{
		ConnectTimeout:  s.cfg.Upstream.ConnectTimeout,
		ResponseTimeout: s.cfg.Upstream.ResponseTimeout,
		ReadTimeout:     s.cfg.Upstream.ReadTimeout,
		MaxConnections:  s.cfg.Upstream.MaxConnections,
		MaxHeaderSize:   o.MaxHeader,
		Roots:           roots,
		ServerName:      s.cfg.Upstream.ServerName,
		Events:          org.meters.events(),
	})
	if err != nil {
		return nil, fmt.Errorf("origin %s: %w", raw, err)
	}
	if org.probe, err = s.probeOf(org); err != nil {
		return nil, fmt.Errorf("health.path: %w", err)
	}
	return org, nil
}

// probeOf is the health probe of an origin. One that is not plain HTTP/1.1 is asked as requests ask it: through TLS, in its version.
func (s *service) probeOf(o *origin) (health.Probe, error) {
	h := &s.cfg.Health
	if o.url.Scheme == "http" {
		return health.HTTPProbe(o.url, h.Path, s.probeHost(o)), nil
	}
	target, err := message.ParseTarget(h.Path)
	if err != nil {
		return nil, err
	}
	host, fields := s.probeHost(o), message.Fields{{Name: "user-agent", Value: "nearcast-health"}, {Name: "accept", Value: "*/*"}}
	return health.OriginProbe(o.url.Host, h.Path, func(ctx context.Context, conn net.Conn) (int, error) {
		return o.conn.ProbeOn(ctx, conn, "GET", target, host, fields)
	}), nil
}

// readRoots reads certificates; nil without a file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no PEM certificate", file)
	}
	return roots, nil
}

// originLocation is the region's, or what the database knows of the origin's address.
func originLocation(u *url.URL, region string, o *Options) (geo.Location, bool) {
	if r, ok := o.Regions[region]; ok {
		return r.Location, true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return geo.Location{}, false
	}
	place, ok := o.Places.Place(addr)
	return place.Location, ok && place.LocationKnown
}
