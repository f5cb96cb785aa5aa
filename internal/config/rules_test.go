package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestEdgeAndRegions(t *testing.T) {
	check(t, []row{
		{"no version", "version: 2", []string{"1:10: version: must be 1; write version: 1"}},
		{"an edge without a name", "edge: {}", []string{"1:1: edge.name: is missing; every edge has a name"}},
		{"a name that no metric would take", "edge: {name: Fra 1}", []string{"1:14: edge.name: must be lower-case letters"}},
		{"no regions need no region", "edge: {name: e}", nil},
		{"with regions the edge stands in one", "edge: {name: e}\nregions: {here: {location: [1, 2]}}", []string{"1:1: edge.region: is missing; name the region"}},
		{"a region misspelled", "edge: {name: e, region: heer}\nregions: {here: {location: [1, 2]}}", []string{`1:25: edge.region: "heer" is not one of the regions; did you mean "here"?`}},
		{"a region far from any", "edge: {name: e, region: moon}\nregions: {here: {location: [1, 2]}, nyc: {location: [3, 4]}}", []string{`1:25: edge.region: "moon" is not one of the regions; known here: here, nyc`}},
		{"latitude and longitude swapped", "edge: {name: e, region: here}\nregions: {here: {location: [139.7, 35.7]}}", []string{"2:28: regions.here.location: must be [latitude, longitude]"}},
		{"a region without a place", "edge: {name: e, region: here}\nregions: {here: {}}", []string{"2:11: regions.here.location: is missing; write [latitude, longitude]"}},
		{"one mistake makes one error", "edge: {name: e, region: here}\nregions: {here: {loc: [1, 2]}}", []string{`2:18: regions.here.loc: there is no such key; did you mean "location"?`}},
		{"a faulty region is a region still", "edge: {name: e, region: here}\nregions:\n  here:\n", []string{"3:3: regions.here: the key has no value"}},
		{"the access log's place", "log: {access: file}", []string{`1:15: log.access: "file" is no place for the access log; write stdout, stderr or off`}},
	})
}

func TestListeners(t *testing.T) {
	const certs = "\ntls: {certificates: [{cert_file: a, key_file: b}]}"
	check(t, []row{
		{"none", "listen: []", []string{"1:9: listen: must have at least one entry"}},
		{"a port alone", "listen: [{address: 80}]", []string{"1:20: listen[0].address: must be host:port"}},
		{"a name", "listen: [{address: \"localhost:80\"}]", []string{"1:20: listen[0].address: must have an IP address as its host"}},
		{"port 0", "listen: [{address: \":0\"}]", []string{"1:20: listen[0].address: must have a port from 1 to 65535"}},
		{"no address", "listen: [{tls: true}]" + certs, []string{"1:10: listen[0].address: must be host:port"}},
		{"the same twice", "listen: [{address: \":80\"}, {address: \":80\"}]", []string{"1:38: listen[1].address: is the same address as listen[0].address"}},
		{"the same in two notations", "listen: [{address: \"[2001:db8::1]:80\"}, {address: \"[2001:db8:0::1]:80\"}]", []string{"1:51: listen[1].address: is the same address"}},
		{"the admin's too", "listen: [{address: \"127.0.0.1:80\"}]\nadmin: {address: \"127.0.0.1:80\"}", []string{"2:18: admin.address: is the same address as listen[0].address"}},
		{"an admin section without an address", "admin: {}", []string{"1:1: admin.address: is missing"}},
		{"an admin port alone", "admin: {address: 9180}", []string{"1:18: admin.address: must be host:port; write one such as 127.0.0.1:9180"}},
		{"TLS without a certificate", "listen: [{address: \":443\", tls: true}]", []string{"1:33: tls.certificates: must have at least one entry for this listener"}},
		{"HTTP/3 without TLS", "listen: [{address: \":80\", http3: true}]", []string{"1:34: listen[0].http3: needs tls: true"}},
		{"https redirected to itself", "listen: [{address: \":443\", tls: true, redirect_to_https: true}]" + certs, []string{"1:58: listen[0].redirect_to_https: is for plain listeners"}},
		{"half a certificate", "tls: {certificates: [{cert_file: a}]}", []string{"1:22: tls.certificates[0].key_file: must name a PEM file"}},
		{"limits", "limits: {max_header_size: 10, header_timeout: 0s, max_connections: 0, idle_timeout: 1ms, max_streams: 0}", []string{
			"1:27: limits.max_header_size: must be from 1KiB to 1MiB", "1:47: limits.header_timeout", "1:68: limits.max_connections", "1:85: limits.idle_timeout", "1:103: limits.max_streams"}},
	})
}

func TestServices(t *testing.T) {
	service := func(hosts, more string) string {
		return fmt.Sprintf("services: {a: {hosts: [%s], origins: {r: [\"http://10.0.0.1\"]}%s}}", hosts, more)
	}
	check(t, []row{
		{"none", "services: {}", []string{"1:11: services: must have at least one service"}},
		{"an empty one", "services: {a: {}}", []string{"1:12: services.a.hosts: must name at least one host", "1:12: services.a.origins: must have at least one origin"}},
		{"a name that no metric would take", "services: {A b: {hosts: [x], origins: {r: [\"http://10.0.0.1\"]}}}", []string{`1:12: services."A b": the service's name must be`}},
		{"a scheme in a host", service("\"https://x\"", ""), []string{"1:24: services.a.hosts[0]: must be a host name alone"}},
		{"the same host in another case", service("x.example, X.example", ""), []string{"1:35: services.a.hosts[1]: is the same as an earlier one"}},
		{"a path without a slash", service("x", ", paths: [a]"), []string{"1:71: services.a.paths[0]: must begin with \"/\""}},
		{"an origin of another scheme", "services: {a: {hosts: [x], origins: {r: [\"ftp://10.0.0.1\"]}}}", []string{"1:42: services.a.origins.r[0]: has the scheme \"ftp\"; write an http://, https:// or h2c:// URL"}},
		{"a CA file without TLS", service("x", ", upstream: {ca_file: f, server_name: \"a b\"}"), []string{
			"1:83: services.a.upstream.ca_file: is of use to https:// origins alone, and the service has none",
			"1:99: services.a.upstream.server_name: is of use to https:// origins alone, and the service has none",
			"1:99: services.a.upstream.server_name: may have letters"}},
		{"the same origin in two regions", "services: {a: {hosts: [x], origins: {r: [\"http://x:80\"], s: [\"http://X\"]}}}", []string{"1:62: services.a.origins.s[0]: is the same origin as an earlier one"}},
		{"a region without origins", "services: {a: {hosts: [x], origins: {r: [\"http://x\"], s: []}}}", []string{"1:58: services.a.origins.s: must have at least one origin; leave the region out"}},
		{"origins in a region that is not there", "edge: {name: e, region: nyc}\nregions: {nyc: {location: [1, 2]}}\nservices: {a: {hosts: [x], origins: {nyv: [\"http://x\"]}}}",
			[]string{`3:38: services.a.origins.nyv: "nyv" is not one of the regions; did you mean "nyc"?`}},
		{"a probe slower than its interval", service("x", ", health: {interval: 1s, timeout: 2s}"), []string{"1:95: services.a.health.timeout: must be more than 0 and at most the interval"}},
		{"a probe that would be two requests", service("x", ", health: {path: \"/a HTTP/1.1\\r\\nX: y\"}"), []string{"1:78: services.a.health.path: must be ASCII without spaces"}},
		{"no attempts", service("x", ", upstream: {max_attempts: 0, max_connections: 0, connect_timeout: 0s, response_timeout: 0s}"), []string{
			"1:88: services.a.upstream.max_attempts: must be at least 1", "1:108:", "1:128:", "1:150:"}},
		{"a disk without a place", "cache: {disk: {size: 1MiB, max_object: 0}}", []string{
			"1:9: cache.disk.path: is missing", "1:22: cache.disk.size: must be at least 64MiB"}},
		{"an object larger than the store", "cache: {memory: 8MiB}", []string{"1:1: cache.max_object: must be between 0 and the memory budget"}},
	})
}

func TestHostsAreTakenOnce(t *testing.T) {
	two := func(a, b string) string {
		return fmt.Sprintf("services:\n  a: {origins: {r: [\"http://x\"]}, %s}\n  b: {origins: {r: [\"http://x\"]}, %s}\n", a, b)
	}
	taken := []string{"3:43: services.b.hosts[0]: "}
	check(t, []row{
		{"one host, two services", two("hosts: [x.example]", "hosts: [X.example]"), taken},
		{"everything, twice", two(`hosts: ["*"]`, `hosts: ["*"]`), taken},
		{"one host by path", two("hosts: [x], paths: [/a]", "hosts: [x], paths: [/b]"), nil},
		{"one path in two notations", two("hosts: [x], paths: [/a]", "hosts: [x], paths: [/a/]"), taken},
		{"a prefix of the other's path", two("hosts: [x]", "hosts: [x], paths: [/a]"), nil},
		{"a wildcard beside a name in it", two(`hosts: ["*.x.example"]`, "hosts: [y.x.example]"), nil},
	})
}

func TestBeacons(t *testing.T) {
	file := func(here, there, more string) string {
		return `version: 1
edge: {name: e, region: here}
regions:
  here: {location: [1, 2]` + here + `}
  there: {location: [3, 4]` + there + `}
listen: [{address: ":80"}]
services: {a: {hosts: [a], origins: {there: ["http://a1"]}}}
` + more
	}
	const anycast = "anycast: {prefixes: [192.0.2.0/24], bgp: {asn: 64500, router_id: 198.51.100.2, neighbors: [{address: 198.51.100.1, asn: 64511, local_address: 198.51.100.2, view: best}]}}\n"
	tests := []struct{ name, text, want string }{
		{"one a region", file(", beacon: 198.51.100.129/32", ", beacon: 198.51.100.130/32", anycast), ""},
		{"others' alone", file("", ", beacon: 198.51.100.130/32", anycast), ""},
		{"the same twice", file(", beacon: 198.51.100.129/32", ", beacon: 198.51.100.129/32", anycast),
			"5:37: regions.there.beacon: 198.51.100.129/32 overlaps with 198.51.100.129/32, the beacon of here; each region needs one of its own"},
		{"one in another", file(", beacon: 203.0.113.0/24", ", beacon: 203.0.113.7/32", anycast), "5:37: regions.there.beacon: 203.0.113.7/32 overlaps with 203.0.113.0/24"},
		{"in an anycast prefix", file(", beacon: 192.0.2.1/32", "", anycast), "4:36: regions.here.beacon: 192.0.2.1/32 overlaps with 192.0.2.0/24, which every region announces"},
		{"host bits", file(", beacon: 203.0.113.7/24", "", anycast), "4:36: regions.here.beacon: 203.0.113.7/24 has host bits set; write 203.0.113.0/24"},
		{"the default route", file(", beacon: 0.0.0.0/0", "", anycast), "4:36: regions.here.beacon: 0.0.0.0/0 can't be a beacon; write a prefix that this region alone announces"},
		{"a family that no session carries", file(", beacon: \"2001:db8:99::/48\"", "", anycast), "4:36: regions.here.beacon: 2001:db8:99::/48 is of another family than all of anycast.prefixes"},
		{"with the next hop in it", file(", beacon: 198.51.100.0/24", "", anycast), "4:36: regions.here.beacon: 198.51.100.0/24 has 198.51.100.1 in it, over which it would be announced"},
		{"another region's with our session in it", file("", ", beacon: 198.51.100.0/24", anycast), ""},
		{"no prefix", file(", beacon: fra", "", anycast), `4:36: regions.here.beacon: "fra" is not an address prefix; write one such as 192.0.2.0/24`},
		{"nothing to announce it with", file(", beacon: 198.51.100.129/32", "", ""), "4:36: regions.here.beacon: is announced with the anycast prefixes, but there is no anycast section; leave it out"},
		{"a view that there is not", file("", "", strings.Replace(anycast, "best", "all", 1)), `anycast.bgp.neighbors[0].view: "all" is no view: write off, best or add-path`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f", []byte(tt.text))
			got := strings.Join(lines(t, err), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil || tt.name != "one a region" {
				return
			}
			if p, ok := c.Anycast.Beacon(); !ok || p.String() != "198.51.100.129/32" {
				t.Errorf("this edge's beacon is %v, %v", p, ok)
			}
			if n := c.Anycast.BGP.Neighbors[0]; n.View.String() != "best" {
				t.Errorf("view is %v", n.View)
			}
		})
	}
}

func TestRoutesThatCouldNeverBeAnnounced(t *testing.T) {
	file := func(when string) string {
		return `version: 1
edge: {name: e, region: here}
regions: {here: {location: [1, 2]}, there: {location: [3, 4]}}
listen: [{address: ":80"}]
services:
  a: {hosts: [a], origins: {there: ["http://a1", "http://a2"]}}
  b: {hosts: [b], origins: {here: ["http://b1"]}}
anycast:
  prefixes: [192.0.2.0/24]
  bgp: {asn: 64500, router_id: 198.51.100.2, neighbors: [{address: 198.51.100.1, asn: 64511}]}
  announce_when: {` + when + "}\n"
	}
	tests := []struct {
		when string
		want []string
	}{
		{"", nil},
		{"healthy_origins: 0", nil},
		{"healthy_origins: 2", []string{"11:36: anycast.announce_when.healthy_origins: is 2, but the service b has 1; the routes would never be announced"}},
		{"healthy_regional_origins: 1", []string{"11:45: anycast.announce_when.healthy_regional_origins: is 1, but the service a has 0 in this edge's region"}},
	}
	for _, tt := range tests {
		_, err := Parse("f", []byte(file(tt.when)))
		got := lines(t, err)
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") && !(len(got) == 1 && len(tt.want) == 1 && strings.HasPrefix(got[0], tt.want[0])) {
			t.Errorf("%q: got %q, want %q", tt.when, got, tt.want)
		}
	}
	for more, want := range map[string]string{
		"full_when: {healthy_origins: 3}":                                                          "12:32: anycast.full_when.healthy_origins: is 3, but the service a has 2; the routes would never be announced at full preference",
		"full_when: {services: [shp]}":                                                             `12:26: anycast.full_when.services[0]: "shp" is not one of the services`,
		"full_when: {services: [a], healthy_origins: 2}":                                           "",
		"per_prefix: [{prefix: 192.0.2.0/24, announce_when: {services: [b], healthy_origins: 2}}]": "12:87: anycast.per_prefix[0].announce_when.healthy_origins: is 2, but the service b has 1",
		"per_prefix: [{prefix: 192.0.3.0/24}]":                                                     "12:25: anycast.per_prefix[0].prefix: 192.0.3.0/24 is not one of the prefixes",
		"per_prefix: [{prefix: 192.0.2.0/24}, {prefix: 192.0.2.0/24}]":                             "12:49: anycast.per_prefix[1].prefix: 192.0.2.0/24 is per_prefix[0] again; write it once",
		"drain: [{community: no-export, for: 1s}]":                                                 `12:23: anycast.drain[0].community: "no-export" is not of the drain`,
		"drain: [{for: 1s}]":                                                                       "12:11: anycast.drain[0]: does nothing",
		"drain: []":                                                                                "",
		"last_region: stay":                                                                        `12:16: anycast.last_region: "stay" is no policy; write serve-stale, withdraw or keep`,
	} {
		_, err := Parse("f", []byte(file("")+"  "+more+"\n"))
		got := strings.Join(lines(t, err), "\n")
		if want == "" && got != "" || !strings.HasPrefix(got, want) || strings.Contains(got, "\n") && want != "" && !strings.Contains(more, "healthy_origins: 3") {
			t.Errorf("%s: %q, want %q", more, got, want)
		}
	}
	t.Run("a misspelled region makes one error", func(t *testing.T) {
		text := strings.Replace(file("healthy_origins: 0, healthy_regional_origins: 1"), "region: here", "region: hree", 1)
		if _, err := Parse("f", []byte(text)); len(lines(t, err)) != 1 {
			t.Errorf("%v", err)
		}
	})
	t.Run("an edge in no region announces nothing", func(t *testing.T) {
		text := strings.Replace(file(""), ", region: here", "", 1)
		if _, err := Parse("f", []byte(text)); len(lines(t, err)) != 1 {
			t.Errorf("%v", err)
		}
	})
}

// TestAServiceAddressThatNobodyAnswersAt would keep the routes withdrawn for good.
func TestAServiceAddressThatNobodyAnswersAt(t *testing.T) {
	file := func(listen, addresses string) string {
		return `version: 1
edge: {name: e, region: here}
regions: {here: {location: [1, 2]}}
services: {a: {hosts: [a], origins: {here: ["http://a1"]}}}
listen: ` + listen + `
anycast:
  prefixes: [192.0.2.0/24, "2001:db8:53::/48"]
  bgp: {asn: 64500, router_id: 198.51.100.2, neighbors: [{address: 198.51.100.1, asn: 64511, next_hop_ipv6: "2001:db8::2"}]}
  addresses: ` + addresses + "\n"
	}
	const both = `[192.0.2.1, "2001:db8:53::1"]`
	six, four := "9:26: anycast.addresses[1]: 2001:db8:53::1 is an address that no listener takes; write one in listen", "9:15: anycast.addresses[0]: 192.0.2.1 is an address that no listener takes"
	for _, tt := range []struct {
		listen, addresses string
		want              []string
	}{
		{`[{address: ":80"}]`, both, nil},
		{`[{address: "0.0.0.0:80"}]`, both, []string{six}},
		{`[{address: "127.0.0.1:80"}]`, both, []string{four, six}},
		{`[{address: "192.0.2.1:80"}, {address: "[2001:db8:53::1]:80"}]`, both, nil},
		{`[{address: "192.0.2.2:80"}, {address: "[::]:80"}]`, both, []string{four}},
		{`[{address: "192.0.2.1:80"}, {address: 80}]`, both, []string{"5:47: listen[1].address: must be host:port"}}, // one mistake makes one error
		{`[{address: "192.0.2.1:80"}]`, `[192.0.2.1, x]`, []string{"9:26: anycast.addresses[1]:"}},
		{`[{address: "192.0.2.1:80"}]`, `[192.0.2.1, 192.0.3.1]`, []string{"9:26: anycast.addresses[1]: 192.0.3.1 lies in none of the prefixes"}},
	} {
		_, err := Parse("f", []byte(file(tt.listen, tt.addresses)))
		got := lines(t, err)
		ok := len(got) == len(tt.want)
		for i := range got {
			ok = ok && strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s, %s: got %q, want %q", tt.listen, tt.addresses, got, tt.want)
		}
	}
}
