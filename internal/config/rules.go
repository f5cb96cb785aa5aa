package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nearcast/bgp"
	"nearcast/proxy"
	"nearcast/proxy/front"
)

// rules are what spans several sections.
type rules struct {
	c *Config
	d *decoder
}

// A name is what metrics, logs and DNS can all carry.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const nameRule = `must be lower-case letters, digits and "-", at most 63, with a letter or digit at both ends`

// normalise writes what may be written in several ways in one, and tells the sections what they need of others.
func (c *Config) normalise() {
	for _, s := range c.Services {
		for i := range s.Hosts {
			s.Hosts[i] = strings.ToLower(s.Hosts[i])
		}
	}
	if c.Anycast != nil {
		c.Anycast.SetRegions(c.Edge.Region, c.Regions)
	}
}

func (r *rules) check() {
	if r.c.Version != 1 {
		r.missingOr("version", "must be 1", "write version: 1")
	}
	r.edge()
	r.regions()
	r.listeners()
	r.services()
	r.anycast()
	r.fleet()
	r.rescue()
	r.beacons()
	if a := r.c.Log.Access; a != "stdout" && a != "stderr" && a != "off" {
		hint, near := suggest(a, []string{"stdout", "stderr", "off"})
		if near == "" {
			hint = "write stdout, stderr or off"
		}
		r.d.report("log.access", strconv.Quote(a)+" is no place for the access log", hint)
	}
}

// missingOr reports that a required key is missing, or what is wrong with it when it is there.
func (r *rules) missingOr(path, fault, hint string) {
	if !r.d.given(path) {
		fault = "is missing"
	}
	r.d.report(path, fault, hint)
}

func (r *rules) edge() {
	if !name.MatchString(r.c.Edge.Name) {
		r.missingOr("edge.name", nameRule, "every edge has a name of its own, such as fra-1")
	}
	region := r.c.Edge.Region
	switch {
	case region == "" && (len(r.c.Regions) > 0 || r.c.Anycast != nil || r.c.Fleet != nil):
		r.missingOr("edge.region", "must not be empty", "name the region that this edge stands in")
	case region != "":
		r.region(r.d.report, "edge.region", region)
	}
}

// region checks the name of a region wherever it is used.
func (r *rules) region(report func(path, fault, hint string), path, region string) {
	if r.d.faulty["regions"] {
		return
	}
	known := r.d.keysOf("regions")
	if len(known) == 0 {
		if !name.MatchString(region) {
			report(path, nameRule, "")
		}
		return
	}
	if !slices.Contains(known, region) {
		hint, _ := suggest(region, known)
		report(path, strconv.Quote(region)+" is not one of the regions", hint)
	}
}

func (r *rules) regions() {
	for region := range r.c.Regions {
		path := join("regions", region)
		if !name.MatchString(region) {
			r.d.reportKey(path, "the region's name "+nameRule, "")
		}
		if !r.d.given(path + ".location") {
			r.d.report(path+".location", "is missing", "write [latitude, longitude] in degrees")
		}
	}
}

func (r *rules) listeners() {
	if len(r.c.Listen) == 0 {
		r.missingOr("listen", "must have at least one entry", `write one such as {address: ":443", tls: true}`)
	}
	taken := make(map[string]string) // by address, the path that has it
	tls := ""                        // the path that demands certificates
	for i, l := range r.c.Listen {
		if l.TLS && tls == "" {
			tls = entry("listen", i) + ".tls"
		}
		r.takeAddress(taken, entry("listen", i)+".address", l.Address)
	}
	if tls != "" && len(r.c.TLS.Certificates) == 0 {
		r.d.reportAt(r.d.spanOf(tls), "tls.certificates", "must have at least one entry for this listener", "name a cert_file and its key_file")
	}
	if a := r.c.Admin.Address; a != "" {
		if host, port, err := net.SplitHostPort(a); err != nil || !validPort(port) || strings.Contains(host, "/") {
			r.d.report("admin.address", "must be host:port", "write one such as 127.0.0.1:9180")
		}
		r.takeAddress(taken, "admin.address", a)
	} else if r.d.given("admin") {
		r.missingOr("admin.address", "must not be empty", "write one such as 127.0.0.1:9180, or leave the section out")
	}
	if f := r.c.Fleet; f != nil {
		r.takeAddress(taken, "fleet.address", f.Address)
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// takeAddress reports an address that another socket has already.
func (r *rules) takeAddress(taken map[string]string, path, address string) {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		address = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
	}
	if address == "" {
		return
	}
	if first, ok := taken[address]; ok {
		r.d.report(path, "is the same address as "+first, "give each socket an address or port of its own")
		return
	}
	taken[address] = path
}

func (r *rules) services() {
	if len(r.c.Services) == 0 {
		r.missingOr("services", "must have at least one service", "config.yaml.example has one")
	}
	taken := make(map[string]string) // by host and path, the service that has them
	for _, service := range slices.Sorted(maps.Keys(r.c.Services)) {
		path := join("services", service)
		if !name.MatchString(service) {
			r.d.reportKey(path, "the service's name "+nameRule, "")
		}
		s := r.c.Services[service]
		for region, origins := range s.Origins {
			p := join(path+".origins", region)
			r.region(r.d.reportKey, p, region)
			if len(origins) == 0 {
				r.d.report(p, "must have at least one origin", "leave the region out when it has none")
			}
		}
		r.takeHosts(taken, service, s)
	}
}

// takeHosts reports a host that another service has for the same path.
func (r *rules) takeHosts(taken map[string]string, service string, s proxy.ServiceConfig) {
	for i, host := range s.Hosts {
		for _, path := range s.Paths {
			key := host + " " + proxy.CanonicalPath(path)
			if other, ok := taken[key]; ok && other != service {
				r.d.report(entry(join("services", service)+".hosts", i),
					fmt.Sprintf("%q with the path %s is taken by the service %s", host, path, other),
					"give the services different hosts or paths")
				break
			}
			taken[key] = service
		}
	}
}

// beacons checks what the edges announce besides the anycast prefixes.
func (r *rules) beacons() {
	if r.c.Anycast != nil {
		r.c.Anycast.ValidateBeacons(func(region, fault string) { r.d.report(join("regions", region)+".beacon", fault, "") })
		return
	}
	for region := range r.c.Regions {
		if path := join("regions", region) + ".beacon"; r.d.given(path) {
			r.d.report(path, "is announced with the anycast prefixes, but there is no anycast section", "leave it out")
		}
	}
}

// anycast checks that what is demanded before announcing can come true.
func (r *rules) anycast() {
	a := r.c.Anycast
	if a == nil {
		return
	}
	r.anycastAddresses()
	const never, less = "the routes would never be announced", "the routes would never be announced at full preference"
	r.conditions("anycast.announce_when", bgp.Conditions(a.AnnounceWhen), never)
	r.conditions("anycast.full_when", bgp.Conditions(a.FullWhen), less)
	for i, p := range a.PerPrefix {
		path := entry("anycast.per_prefix", i)
		if p.AnnounceWhen != nil {
			r.conditions(path+".announce_when", bgp.Conditions(*p.AnnounceWhen), never)
		}
		if p.FullWhen != nil {
			r.conditions(path+".full_when", bgp.Conditions(*p.FullWhen), less)
		}
	}
}

// conditions checks the services that one set of conditions names, and that each has as many origins as it asks for.
func (r *rules) conditions(path string, w bgp.Conditions, otherwise string) {
	services := slices.Sorted(maps.Keys(r.c.Services))
	for i, name := range w.Services {
		if !slices.Contains(services, name) && !r.d.blamed("services") {
			hint, _ := suggest(name, services)
			r.d.report(entry(path+".services", i), strconv.Quote(name)+" is not one of the services", hint)
		}
	}
	for _, service := range services {
		origins := join("services", service) + ".origins"
		if len(w.Services) > 0 && !slices.Contains(w.Services, service) || !r.d.given(origins) || r.d.blamed(origins) {
			continue
		}
		total, regional := 0, 0
		for region, origins := range r.c.Services[service].Origins {
			total += len(origins)
			if region == r.c.Edge.Region {
				regional += len(origins)
			}
		}
		if w.HealthyOrigins > total {
			r.d.report(path+".healthy_origins", fmt.Sprintf("is %d, but the service %s has %d", w.HealthyOrigins, service, total), otherwise)
		}
		if w.HealthyRegionalOrigins > regional && !r.d.refused("edge.region") {
			r.d.report(path+".healthy_regional_origins",
				fmt.Sprintf("is %d, but the service %s has %d in this edge's region", w.HealthyRegionalOrigins, service, regional), otherwise)
		}
	}
}

// anycastAddresses refuses service addresses at which nobody would answer: the edge asks itself there before it announces anything.
func (r *rules) anycastAddresses() {
	if len(r.c.Listen) == 0 {
		return
	}
	for i, l := range r.c.Listen {
		if path := entry("listen", i) + ".address"; l.Address == "" || r.d.blamed(path) || r.d.refused(path) {
			return // whom that one takes is not known
		}
	}
	for i, a := range r.c.Anycast.Addresses {
		path := entry("anycast.addresses", i)
		taken := slices.ContainsFunc(r.c.Listen, func(l front.ListenConfig) bool { return front.Takes(l.Address, a) })
		if !taken && !r.d.blamed(path) && !r.d.refused(path) {
			r.d.report(path, fmt.Sprintf("%s is an address that no listener takes", a), `write one in listen, such as {address: ":443", tls: true}, or leave it out`)
		}
	}
}
