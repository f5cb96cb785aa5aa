package geo

import (
	"fmt"
	"net/netip"
)

// Config is the part of the configuration that says where addresses are.
type Config struct {
	// DatabaseFile is a MaxMind DB file with city records. Default: none, addresses have no place.
	DatabaseFile string `yaml:"database_file"`
}

// Region is a named place where edges and origins stand.
type Region struct {
	// Location is [latitude, longitude] in degrees. It has no default.
	Location Location `yaml:"location"`
	// Edges are the unicast addresses of the region's edges, at which other edges ask them. Default: none.
	Edges []EdgeAddress `yaml:"edges"`
	// Beacon is a prefix that edges of this region alone announce, exactly while they hold the anycast prefixes at full preference,
	// so that the others see through their routers that this region serves. Default: none.
	Beacon netip.Prefix `yaml:"beacon"`
}

// Validate calls report with the key and the fault of each value that can't be.
func (r *Region) Validate(report func(key, fault string)) {
	if !r.Location.Valid() {
		report("location", "must be [latitude, longitude] in degrees: -90 to 90, -180 to 180")
	}
	for i, e := range r.Edges {
		if fault := e.fault(); fault != "" {
			report(fmt.Sprintf("edges[%d]", i), fault)
		}
	}
}
