package proxy

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"nearcast/geo"
)

// places remembers where addresses are: a look into the database takes longer than a whole hit, and one client sends many requests.
type places struct {
	// immutable
	db   *geo.DB
	seed maphash.Seed

	recent [placeSlots]atomic.Pointer[placed] // direct-mapped
}

const placeSlots = 4096 // a power of two

type placed struct {
	addr  netip.Addr
	place geo.Place
}

func newPlaces(db *geo.DB) *places {
	return &places{db: db, seed: maphash.MakeSeed()}
}

func (p *places) of(addr netip.Addr) geo.Place {
	if p.db == nil {
		return geo.Place{}
	}
	key := addr.As16()
	slot := &p.recent[maphash.Bytes(p.seed, key[:])%placeSlots]
	if known := slot.Load(); known != nil && known.addr == addr {
		return known.place
	}
	place, _ := p.db.Place(addr)
	slot.Store(&placed{addr, place})
	return place
}

// locate returns the client's place, looked up when a step first asks.
func (p *Proxy) locate(x *exchange) geo.Place {
	if !x.located {
		x.located = true
		x.place = p.places.of(x.r.Client.Addr())
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
