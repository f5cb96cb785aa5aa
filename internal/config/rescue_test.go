package config

import (
	"strings"
	"testing"
	"time"
)

func TestRescue(t *testing.T) {
	// file is an edge of two regions with one QUIC listener.
	file := func(fra, listen, quic string) string {
		return "edge: {name: fra-1, region: fra}\nregions:\n  fra: {location: [1, 2], edges: [" + fra + "]}\n  nyc: {location: [3, 4], edges: [198.51.100.18]}\n" +
			"fleet: {address: \"198.51.100.2:9181\", secret_file: fleet.key" + quic + "}\n" +
			"listen: [{address: \"" + listen + "\", tls: true}]\ntls: {certificates: [{cert_file: c, key_file: k}]}\n" +
			"services: {s: {hosts: [\"*\"], origins: {fra: [\"http://10.0.0.1\"]}}}"
	}
	check(t, []row{
		{"as it should be", file("198.51.100.2", ":443", ""), nil},
		{"an address where others send nothing", file("198.51.100.2", "192.0.2.1:443", ""), []string{
			`6:20: listen[0].address: is one address, and the other edges send QUIC packets on to this edge's unicast address at that port; write ":443", once for all addresses at this port; or fleet.quic.rescue: false, with which`}},
		{"that, without rescue", file("198.51.100.2", "192.0.2.1:443", ", quic: {rescue: false}"), nil},
		{"that, without QUIC", strings.Replace(file("198.51.100.2", "192.0.2.1:443", ""), "tls: true}", "tls: true, http3: false}", 1), nil},
		{"a name", file("198.51.100.2", "edge.example:443", ""), []string{"6:20: listen[0].address: must have an IP address"}},
		{"IPv4 alone, and so are the edges", file("198.51.100.2", "0.0.0.0:443", ""), nil},
		{"IPv6 alone, and the edges are not", file("198.51.100.2", "[::]:443", ""), []string{"6:20: listen[0].address: is of one family, and QUIC packets can't be sent on to 198.51.100.2 from it"}},
		{"others don't know this edge", file("198.51.100.3", ":443", ""), []string{
			"5:18: fleet.address: is not among the edges of this edge's region, where the other edges look for the owner of a QUIC connection; write 198.51.100.2:9181 in regions.fra.edges"}},
		{"another port is another edge", file(`"198.51.100.2:9182"`, ":443", ""), []string{"5:18: fleet.address: is not among the edges"}},
		{"two edges of one machine", file(`198.51.100.2, "198.51.100.2:9182"`, ":443", ""), []string{
			"3:49: regions.fra.edges[1]: has the address of regions.fra.edges[0], and QUIC packets are sent on to an edge by its address alone"}},
		{"without rescue they may be", file(`198.51.100.2, "198.51.100.2:9182"`, ":443", ", quic: {rescue: false}"), nil},
		{"words and bounds", file("198.51.100.2", ":443", ", quic: {reply: maybe, dead_after: 1ms, max_rate: 0, follow_after: 1ms}"), []string{
			"5:77: fleet.quic.reply: must be auto, direct or tunnel", "5:96: fleet.quic.dead_after: must be from 100ms to 10s", "5:111: fleet.quic.max_rate: must be from 100", "5:128: fleet.quic.follow_after: must be 0, or from 1s"}},
	})
}

func TestRescueIsOnInAFleetThatServesHTTP3(t *testing.T) {
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if q := c.Fleet.QUIC; !c.Rescues() || q.Reply != "auto" || q.DeadAfter != 300*time.Millisecond || q.MaxRate != 100_000 {
		t.Errorf("%v %+v", c.Rescues(), q)
	}
	c.Fleet = nil
	if c.Rescues() {
		t.Error("an edge alone rescues")
	}
}
