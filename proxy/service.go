package proxy

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"nearcast/geo"
	"nearcast/health"
	"nearcast/proxy/upstream"
)

func newService(name string, cfg ServiceConfig, o *Options, m *meters) (*service, error) {
	s := &service{name: name, cfg: cfg, meters: m.service(name)}
	s.policy = &s.cfg.Cache
	s.logged = string(appendText(nil, `,"service":"`, name))
	regions := make([]string, 0, len(cfg.Origins))
	for region := range cfg.Origins {
		regions = append(regions, region)
	}
	slices.Sort(regions)
	for _, region := range regions {
		for _, raw := range cfg.Origins[region] {
			org, err := newOrigin(s, region, raw, o, m)
			if err != nil {
				return nil, err
			}
			s.origins = append(s.origins, org)
		}
	}
	return s, nil
}

func newOrigin(s *service, region, raw string, o *Options, m *meters) (*origin, error) {
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
		MaxConnections:  s.cfg.Upstream.MaxConnections,
		MaxHeaderSize:   o.MaxHeader,
		Events:          upstream.Events{Limited: org.meters.limited.Inc},
	})
	if err != nil {
		return nil, fmt.Errorf("origin %s: %w", raw, err)
	}
	return org, nil
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
