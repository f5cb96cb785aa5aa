package proxy

import "nearcast/geo"

// locate returns the client's place, looked up when a step first asks.
func (p *Proxy) locate(x *exchange) geo.Place {
	if !x.located {
		x.located = true
		x.place, _ = p.opts.Places.Place(x.r.Client.Addr())
	}
	return x.place
}

// standpoint is where distances to origins are measured from while there is no round-trip time: the edge's own region, or where that
// has no location the client, which anycast has brought to an edge near it.
func (p *Proxy) standpoint(x *exchange) (geo.Location, bool) {
	if r, ok := p.opts.Regions[p.opts.Region]; ok {
		return r.Location, true
	}
	place := p.locate(x)
	return place.Location, place.LocationKnown
}
