package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestFleet(t *testing.T) {
	// file has the edges of two regions, and more lines.
	file := func(fra, nyc string, more ...string) string {
		return "edge: {name: fra-1, region: fra}\nregions:\n  fra: {location: [1, 2], edges: [" + fra + "]}\n  nyc: {location: [3, 4], edges: [" + nyc + "]}\n" +
			strings.Join(more, "\n")
	}
	const (
		fleet   = `fleet: {address: "198.51.100.2:9181", secret_file: fleet.key}`
		anycast = `anycast: {prefixes: [192.0.2.0/24, "2001:db8:53::/48"], announce_when: {healthy_origins: 0}, bgp: {asn: 64500, router_id: 198.51.100.2, neighbors: [{address: 198.51.100.1, asn: 64511, next_hop_ipv6: "2001:db8:1::2"}]}}`
		svc     = `services: {s: {hosts: ["*"], origins: {fra: ["http://10.0.0.1"]}}}`
	)
	check(t, []row{
		{"edges ask each other", file("198.51.100.2", `198.51.100.18, "[2001:db8::2]:9000"`, fleet, svc), nil},
		{"this edge alone needs no section", file("198.51.100.2", "", svc), nil},
		{"nobody to ask yet", file("", "", fleet, svc), nil},
		{"another edge of this region", file("198.51.100.2, 198.51.100.3", "", svc), []string{"3:49: fleet: is missing, and here is another edge to ask; write the section"}},
		{"an edge of another region", file("", "198.51.100.18", svc), []string{"4:35: fleet: is missing, and here is another edge to ask"}},
		{"a section that is not whole", file("", "198.51.100.18", "fleet: {interval: 1ms}", svc), []string{
			"5:1: fleet.address: is missing; write host:port", "5:1: fleet.secret_file: is missing; name a file", "5:19: fleet.interval: must be from 100ms"}},
		{"no address", file("here", `"198.51.100.18:x"`, fleet, svc), []string{`3:35: regions.fra.edges[0]: "here" is not the address of an edge; write one such as`, "4:35: regions.nyc.edges[0]:"}},
		{"a port without quotes", file("", "198.51.100.18:9181", fleet, svc), []string{"4:35: regions.nyc.edges[0]: is a mapping, and must be a single value; if the colon belongs to the value, write it in quotes"}},
		{"one edge twice", file("198.51.100.2", `198.51.100.18, "198.51.100.18:9181"`, fleet, svc), []string{"4:50: regions.nyc.edges[1]: is the same address as regions.nyc.edges[0]; write each edge once"}},
		{"one edge in two regions", file("198.51.100.2", "198.51.100.2", fleet, svc), []string{"4:35: regions.nyc.edges[0]: is the same address as regions.fra.edges[0]"}},
		{"an anycast address", file("198.51.100.2", `192.0.2.1, "2001:db8:53::1"`, fleet, anycast, svc), []string{
			"4:35: regions.nyc.edges[0]: 192.0.2.1 lies in the anycast prefix 192.0.2.0/24, and leads to whichever edge is nearest; write the edge's own", "4:46: regions.nyc.edges[1]: 2001:db8:53::1 lies"}},
		{"answering at the anycast address", file("", "198.51.100.18", strings.Replace(fleet, "198.51.100.2", "192.0.2.1", 1), anycast, svc), []string{
			"5:18: fleet.address: 192.0.2.1 lies in the anycast prefix"}},
		{"a withdrawal sooner than a silence is noticed", file("", "198.51.100.18", strings.Replace(fleet, "}", ", silent_after: 10s}", 1), anycast, svc), []string{
			"6:1: anycast.degraded.for: is 10s, and an edge may be silent for 10s (fleet.silent_after) before it counts as gone, so that regions could withdraw together; write more"}},
		{"a long interval makes for a long silence", file("", "198.51.100.18", strings.Replace(fleet, "}", ", interval: 5s}", 1), anycast, svc), []string{
			"6:1: anycast.degraded.for: is 10s, and an edge may be silent for 15s"}},
		{"answering everywhere", file("", "198.51.100.18", strings.Replace(fleet, "198.51.100.2", "", 1), svc), []string{"5:18: fleet.address: must name one address"}},
		{"a socket that is taken", file("", "198.51.100.18", fleet, svc, `admin: {address: "198.51.100.2:9181"}`), []string{"5:18: fleet.address: is the same address as admin.address"}},
		{"encrypted hellos", file("", "", fleet, svc, "tls: {ech: {public_name: edge.example.com}}"), nil},
		{"encrypted hellos without a secret", file("", "", svc, "tls: {ech: {public_name: edge.example.com}}"), []string{
			"6:12: tls.ech: has keys that come from the fleet's secret, and there is no fleet section; write one with address and secret_file"}},
		{"encrypted hellos without a name", file("", "", fleet, svc, "tls: {ech: {}}"), []string{"7:7: tls.ech.public_name: must be a DNS name in lower-case letters"}},
		{"encrypted hellos that show an address", file("", "", fleet, svc, "tls: {ech: {public_name: 192.0.2.1}}"), []string{"7:26: tls.ech.public_name: must be a DNS name"}},
		{"no region", "edge: {name: e}\n" + fleet, []string{"1:1: edge.region: is missing"}},
	})
	t.Run("too many", func(t *testing.T) {
		var many []string
		for i := range 257 {
			many = append(many, fmt.Sprintf("\"198.51.100.18:%d\"", 9000+i))
		}
		got := faults(t, file("", strings.Join(many, ", "), fleet, svc))
		if len(got) != 1 || !strings.Contains(got[0], "regions: have the addresses of 257 edges; at most 256") {
			t.Errorf("%q", got)
		}
	})
}

func TestFleetIsReadWhole(t *testing.T) {
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Fleet
	if f == nil || f.Interval != 500*time.Millisecond || f.Timeout != time.Second || f.SilentAfter != 0 || !strings.HasPrefix(f.SecretFile, "/") {
		t.Errorf("%+v", f)
	}
	if got := c.Regions["tyo"].Edges[0].AddrPort; got != netip.MustParseAddrPort("[2001:db8:3::2]:9181") {
		t.Error(got)
	}
	if got := c.Regions["nyc"].Edges[0].AddrPort; got != netip.MustParseAddrPort("198.51.100.18:9181") {
		t.Errorf("without a port it is %s", got)
	}
	plain, err := Parse("f", []byte(complete("")))
	if err != nil || plain.Fleet != nil {
		t.Errorf("a file without the section has a fleet: %v", err)
	}
}
