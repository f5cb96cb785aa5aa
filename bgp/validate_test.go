package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bgp/bfd"
)

func faults(c *Config) (fs []string) {
	c.Validate(func(key, fault string) { fs = append(fs, key+" "+fault) })
	return fs
}

func bfdConfig(change func(*bfd.Config)) *bfd.Config {
	c := &bfd.Config{}
	c.SetDefaults()
	if change != nil {
		change(c)
	}
	return c
}

// TestValidate: each fault has its key and says what to write instead.
func TestValidate(t *testing.T) {
	pfx := func(ss ...string) (ps []netip.Prefix) {
		for _, s := range ss {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}
	n := func(c *Config) *NeighborConfig { return &c.BGP.Neighbors[0] }
	ip := netip.MustParseAddr
	cases := []struct {
		name   string
		change func(*Config)
		want   []string // how each fault begins, "" for valid
	}{
		{"as it should be", func(*Config) {}, nil},
		{"no time to hear of the others", func(c *Config) { c.Degraded.For = time.Second }, []string{"degraded.for must be from 2s, so that regions"}},
		{"no prefixes", func(c *Config) { c.Prefixes = nil }, []string{"prefixes has no prefix"}},
		{"host bits", func(c *Config) { c.Prefixes = pfx("192.0.2.1/24") }, []string{"prefixes[0] 192.0.2.1/24 has host bits set; write 192.0.2.0/24"}},
		{"the same prefix twice", func(c *Config) { c.Prefixes = pfx("192.0.2.0/24", "192.0.2.0/24") }, []string{"prefixes[1] 192.0.2.0/24 is prefixes[0] again"}},
		{"a prefix in another", func(c *Config) { c.Prefixes = pfx("192.0.2.0/24", "192.0.2.128/25") }, []string{"prefixes[1] 192.0.2.128/25 overlaps with 192.0.2.0/24"}},
		{"the default route", func(c *Config) { c.Prefixes = pfx("0.0.0.0/0", "::/0") }, []string{"prefixes[0] is the default route", "prefixes[1] is the default route"}},
		{"IPv4 in IPv6", func(c *Config) {
			c.Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(ip("192.0.2.0").As16()), 120)}
		}, []string{"prefixes[0] ::ffff:192.0.2.0/120 is an IPv4 address in IPv6 form"}},
		{"multicast and loopback", func(c *Config) { c.Prefixes = pfx("224.0.0.0/24", "127.0.0.0/8", "fe80::/64") }, []string{"prefixes[0] 224.0.0.0/24 is not for unicast", "prefixes[1] 127.0.0.0/8 is not", "prefixes[2] fe80::/64 is not"}},
		{"the two halves of the default route", func(c *Config) { c.Prefixes = pfx("128.0.0.0/1", "8000::/1") }, []string{"prefixes[0] 128.0.0.0/1 would draw", "prefixes[1] 8000::/1 would draw"}},
		{"an empty prefix", func(c *Config) { c.Prefixes = []netip.Prefix{{}} }, []string{"prefixes[0] is not a prefix"}},
		{"service addresses in the prefixes", func(c *Config) {
			c.Addresses, c.ManageAddresses = []netip.Addr{ip("192.0.2.1"), ip("2001:db8:53::1"), ip("192.0.2.0")}, true
		}, nil},
		{"a service address elsewhere", func(c *Config) { c.Addresses = []netip.Addr{ip("192.0.3.1"), ip("2001:db8:54::1")} },
			[]string{"addresses[0] 192.0.3.1 lies in none of the prefixes", "addresses[1] 2001:db8:54::1 lies in none"}},
		{"a service address twice", func(c *Config) { c.Addresses = []netip.Addr{ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.1")} },
			[]string{"addresses[2] 192.0.2.1 is addresses[0] again"}},
		{"service addresses in strange forms", func(c *Config) {
			c.Addresses = []netip.Addr{ip("::ffff:192.0.2.1"), ip("2001:db8:53::1%eth0"), {}}
		}, []string{"addresses[0] ::ffff:192.0.2.1 is an IPv4 address in IPv6 form; write 192.0.2.1", "addresses[1] 2001:db8:53::1%eth0 names an interface; write 2001:db8:53::1", "addresses[2] is not an address"}},
		{"one mistake makes one error", func(c *Config) { c.Prefixes, c.Addresses = pfx("192.0.2.1/24"), []netip.Addr{ip("192.0.2.1")} },
			[]string{"prefixes[0] 192.0.2.1/24 has host bits"}},
		{"more service addresses than can be asked", func(c *Config) {
			for i := range 33 {
				c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			}
		}, []string{"addresses has 33 addresses; at most 32"}},
		{"nothing to manage", func(c *Config) { c.ManageAddresses = true }, []string{"manage_addresses is true and there are no addresses"}},
		{"no AS number", func(c *Config) { c.BGP.ASN = 0 }, []string{"bgp.asn must be an AS number"}},
		{"AS_TRANS", func(c *Config) { c.BGP.ASN = 23456 }, []string{"bgp.asn 23456 is AS_TRANS"}},
		{"reserved AS numbers", func(c *Config) { c.BGP.ASN, n(c).ASN = 65535, 4294967295 }, []string{"bgp.asn 65535 is reserved", "bgp.neighbors[0].asn 4294967295 is reserved"}},
		{"no router id", func(c *Config) { c.BGP.RouterID = netip.Addr{} }, []string{"bgp.router_id must be an IPv4 address"}},
		{"an IPv6 router id", func(c *Config) { c.BGP.RouterID = ip("::1") }, []string{"bgp.router_id must be an IPv4 address"}},
		{"an unspecified router id", func(c *Config) { c.BGP.RouterID = ip("0.0.0.0") }, []string{"bgp.router_id must be an IPv4 address"}},
		{"no neighbors", func(c *Config) { c.BGP.Neighbors = nil }, []string{"bgp.neighbors has no neighbor"}},
		{"too many neighbors", func(c *Config) {
			one := *n(c)
			c.BGP.Neighbors = nil
			for i := range 65 {
				one.Port = uint16(1000 + i)
				c.BGP.Neighbors = append(c.BGP.Neighbors, one)
			}
		}, []string{"bgp.neighbors has 65 neighbors; at most 64"}},
		{"the same neighbor twice", func(c *Config) { c.BGP.Neighbors = append(c.BGP.Neighbors, *n(c)) }, []string{"bgp.neighbors[1].address 198.51.100.1 is bgp.neighbors[0] again"}},
		{"the same neighbor on two ports", func(c *Config) {
			c.BGP.Neighbors = append(c.BGP.Neighbors, *n(c))
			c.BGP.Neighbors[1].Port = 1179
		}, nil},
		{"BFD", func(c *Config) { n(c).BFD = bfdConfig(nil) }, nil},
		{"BFD twice with one address", func(c *Config) {
			n(c).BFD = bfdConfig(nil)
			c.BGP.Neighbors = append(c.BGP.Neighbors, *n(c))
			c.BGP.Neighbors[1].Port = 1179
		}, []string{"bgp.neighbors[1].bfd 198.51.100.1 has a BFD session already"}},
		{"BFD too fast", func(c *Config) { n(c).BFD = bfdConfig(func(b *bfd.Config) { b.Interval = 10 * time.Millisecond }) }, []string{"bgp.neighbors[0].bfd.interval must be from 50ms to 10s"}},
		{"BFD too slow, of one packet", func(c *Config) {
			n(c).BFD = bfdConfig(func(b *bfd.Config) { b.Interval, b.Multiplier = time.Minute, 1 })
		}, []string{"bgp.neighbors[0].bfd.interval must be from", "bgp.neighbors[0].bfd.multiplier must be from 2 to 20"}},
		{"BFD of fractions of microseconds", func(c *Config) {
			n(c).BFD = bfdConfig(func(b *bfd.Config) { b.Interval = 100*time.Millisecond + 1 })
		}, []string{"bgp.neighbors[0].bfd.interval must be whole microseconds, as packets carry it; write 100ms"}},
		{"BFD that does something else", func(c *Config) { n(c).BFD = bfdConfig(func(b *bfd.Config) { b.OnDown = "withdraw" }) }, []string{"bgp.neighbors[0].bfd.on_down must be close or ignore"}},
		{"BFD's TTL over one hop", func(c *Config) { n(c).BFD = bfdConfig(func(b *bfd.Config) { b.MinimumTTL = 254 }) }, []string{"bgp.neighbors[0].bfd.minimum_ttl is for BFD with multihop"}},
		{"BFD's TTL over several hops", func(c *Config) {
			n(c).BFD, n(c).Multihop, n(c).TTLSecurity = bfdConfig(func(b *bfd.Config) { b.MinimumTTL = 250 }), 5, false
		}, nil},
		{"BFD as over several hops, with a directly connected neighbor", func(c *Config) {
			n(c).BFD = bfdConfig(func(b *bfd.Config) { b.Multihop, b.MinimumTTL = true, 255 })
		}, nil},
		{"BFD's TTL out of range", func(c *Config) {
			n(c).BFD, n(c).Multihop, n(c).TTLSecurity = bfdConfig(func(b *bfd.Config) { b.MinimumTTL = 256 }), 5, false
		}, []string{"bgp.neighbors[0].bfd.minimum_ttl must be from 0 to 255"}},
		{"no neighbor AS", func(c *Config) { n(c).ASN = 0 }, []string{"bgp.neighbors[0].asn must be"}},
		{"neighbor AS_TRANS", func(c *Config) { n(c).ASN = 23456 }, []string{"bgp.neighbors[0].asn 23456"}},
		{"no port", func(c *Config) { n(c).Port = 0 }, []string{"bgp.neighbors[0].port must be"}},
		{"no address", func(c *Config) { n(c).Address = netip.Addr{} }, []string{"bgp.neighbors[0].address is missing"}},
		{"an unspecified address", func(c *Config) { n(c).Address = ip("0.0.0.0") }, []string{"bgp.neighbors[0].address 0.0.0.0 is not"}},
		{"an address in IPv6 form", func(c *Config) { n(c).Address, n(c).NextHopIPv4 = ip("::ffff:198.51.100.1"), ip("198.51.100.2") }, []string{"bgp.neighbors[0].address ::ffff:198.51.100.1 is an IPv4 address in IPv6 form; write 198.51.100.1"}},
		{"link-local without interface", func(c *Config) { n(c).Address, n(c).NextHopIPv4 = ip("fe80::1"), ip("198.51.100.2") }, []string{"bgp.neighbors[0].address fe80::1 needs its interface"}},
		{"link-local without a global next hop", func(c *Config) {
			n(c).Address, n(c).NextHopIPv4, n(c).NextHopIPv6 = ip("fe80::1%eth0"), ip("198.51.100.2"), netip.Addr{}
		}, []string{"bgp.neighbors[0].next_hop_ipv6 is missing"}},
		{"a zone that is no interface", func(c *Config) { n(c).Address, n(c).NextHopIPv4 = ip("fe80::1%no interface"), ip("198.51.100.2") }, []string{"bgp.neighbors[0].address fe80::1%no interface names no interface"}},
		{"link-local", func(c *Config) {
			n(c).Address, n(c).LocalAddress, n(c).NextHopIPv4 = ip("fe80::1%eth0"), ip("fe80::2%eth0"), ip("198.51.100.2")
		}, nil},
		{"a link-local local address without interface", func(c *Config) {
			n(c).Address, n(c).LocalAddress, n(c).NextHopIPv4 = ip("fe80::1%eth0"), ip("fe80::2"), ip("198.51.100.2")
		}, []string{"bgp.neighbors[0].local_address fe80::2 needs its interface"}},
		{"the neighbor's address as ours", func(c *Config) { n(c).LocalAddress = n(c).Address }, []string{"bgp.neighbors[0].local_address 198.51.100.1 is the neighbor's own"}},
		{"the neighbor's address as next hop", func(c *Config) { n(c).NextHopIPv4 = n(c).Address }, []string{"bgp.neighbors[0].next_hop_ipv4 198.51.100.1 is the neighbor's own"}},
		{"next hops in what is announced", func(c *Config) {
			n(c).LocalAddress, n(c).NextHopIPv6 = ip("192.0.2.1"), ip("2001:db8:53::1")
		}, []string{"bgp.neighbors[0].local_address 192.0.2.1 lies in 192.0.2.0/24", "bgp.neighbors[0].next_hop_ipv6 2001:db8:53::1 lies in"}},
		{"GTSM with multihop", func(c *Config) { n(c).TTLSecurity, n(c).Multihop = true, 3 }, []string{"bgp.neighbors[0].ttl_security excludes multihop"}},
		{"GTSM", func(c *Config) { n(c).TTLSecurity = true }, nil},
		{"hold time too short", func(c *Config) { n(c).HoldTime = 2 * time.Second }, []string{"bgp.neighbors[0].hold_time must be at least 3s"}},
		{"no hold time", func(c *Config) { n(c).HoldTime = 0 }, []string{"bgp.neighbors[0].hold_time must be at least 3s"}},
		{"hold time too long", func(c *Config) { n(c).HoldTime = 20 * time.Hour }, []string{"bgp.neighbors[0].hold_time must be at most"}},
		{"hold time of odd length", func(c *Config) { n(c).HoldTime = 3500 * time.Millisecond }, []string{"bgp.neighbors[0].hold_time must be whole seconds; write 3s or 4s"}},
		{"no IPv6 next hop over IPv4", func(c *Config) { n(c).NextHopIPv6 = netip.Addr{} }, []string{"bgp.neighbors[0].next_hop_ipv6 is missing"}},
		{"no IPv6 next hop and no IPv6 prefix", func(c *Config) { n(c).NextHopIPv6, c.Prefixes = netip.Addr{}, pfx("192.0.2.0/24") }, nil},
		{"no IPv4 next hop over IPv6", func(c *Config) { n(c).Address = ip("2001:db8:1::1") }, []string{"bgp.neighbors[0].next_hop_ipv4 is missing"}},
		{"IPv6 alone over IPv6", func(c *Config) {
			n(c).Address, n(c).NextHopIPv6, c.Prefixes = ip("2001:db8:1::1"), netip.Addr{}, pfx("2001:db8:53::/48")
		}, nil},
		{"next hops of the wrong family", func(c *Config) { n(c).NextHopIPv4, n(c).NextHopIPv6 = ip("2001:db8::1"), ip("198.51.100.2") }, []string{"bgp.neighbors[0].next_hop_ipv4 2001:db8::1 is not", "bgp.neighbors[0].next_hop_ipv6 198.51.100.2 is not"}},
		{"a local address of the wrong family", func(c *Config) { n(c).LocalAddress = ip("2001:db8::1") }, []string{"bgp.neighbors[0].local_address 2001:db8::1 and"}},
		{"an unspecified local address", func(c *Config) { n(c).LocalAddress = ip("0.0.0.0") }, []string{"bgp.neighbors[0].local_address 0.0.0.0 is not"}},
		{"negative counts", func(c *Config) { c.AnnounceWhen = AnnounceWhen{HealthyOrigins: -1, HealthyRegionalOrigins: -1} }, []string{"announce_when.healthy_origins must be", "announce_when.healthy_regional_origins must be"}},
		{"no counts", func(c *Config) { c.Rise.Consecutive, c.Fall.Consecutive = 0, 0 }, []string{"rise.consecutive must be", "fall.consecutive must be"}},
		{"counts beyond reach", func(c *Config) { c.Rise.Consecutive, c.Fall.Consecutive = 1001, 1<<40 }, []string{"rise.consecutive must be", "fall.consecutive must be"}},
		{"negative rise", func(c *Config) { c.Rise.For = -1 }, []string{"rise.for must be"}},
		{"no rise", func(c *Config) { c.Rise.For = 0 }, nil},
		{"probes too often", func(c *Config) { c.SelfProbe = SelfProbe{Interval: time.Millisecond, Timeout: time.Millisecond} }, []string{"self_probe.interval must be"}},
		{"a timeout longer than the interval", func(c *Config) { c.SelfProbe.Timeout = time.Minute }, []string{"self_probe.timeout must be"}},
		{"no timeout", func(c *Config) { c.SelfProbe.Timeout = 0 }, []string{"self_probe.timeout must be"}},
		{"no hold-down", func(c *Config) { c.HoldDown = HoldDown{} }, []string{"hold_down.first must be"}},
		{"attributes at every place", func(c *Config) {
			c.Attributes, n(c).Attributes = everyAttribute(), everyAttribute()
			c.PerPrefix = []PrefixConfig{{Prefix: testPrefix4, Attributes: everyAttribute()}, {Prefix: testPrefix6, Attributes: everyAttribute()}}
			n(c).PerPrefix = []NeighborPrefixConfig{{testPrefix6, everyAttribute()}}
		}, nil},
		{"full lists", func(c *Config) { c.Attributes = fullAttributes(1) }, nil},
		{"too full lists", func(c *Config) {
			c.Attributes = fullAttributes(1)
			c.Attributes.Communities = append(c.Attributes.Communities, 7)
		}, []string{"attributes.communities has 33 entries; at most 32"}},
		{"the same community twice", func(c *Config) { n(c).Attributes.Communities = []Community{0xfbff0064, 1, 0xfbff0064} }, []string{"bgp.neighbors[0].attributes.communities[2] 64511:100 is communities[0] again; write it once"}},
		{"a path too long", func(c *Config) { c.Attributes.Prepend = ptr[uint8](10) }, []string{"attributes.prepend must be at most 9: degraded.prepend and drain add 7"}},
		{"a local preference to an external neighbor", func(c *Config) { n(c).Attributes.LocalPreference = ptr[uint32](100) }, []string{"bgp.neighbors[0].attributes.local_preference this neighbor is external, and LOCAL_PREF is"}},
		{"a local preference with external neighbors alone", func(c *Config) { c.Attributes.LocalPreference = ptr[uint32](100) }, []string{"attributes.local_preference every neighbor here is external"}},
		{"a local preference with one internal neighbor", func(c *Config) {
			c.Attributes.LocalPreference = ptr[uint32](100)
			c.BGP.Neighbors = append(c.BGP.Neighbors, *n(c))
			c.BGP.Neighbors[1].ASN, c.BGP.Neighbors[1].Port = 64500, 1790
		}, nil},
		{"prepends to an internal neighbor", func(c *Config) {
			n(c).ASN = 64500
			n(c).PerPrefix = []NeighborPrefixConfig{{testPrefix4, Attributes{Prepend: ptr[uint8](1)}}}
		}, []string{"bgp.neighbors[0].per_prefix[0].attributes.prepend this neighbor is internal, where the AS path is empty"}},
		{"prepends with internal neighbors alone", func(c *Config) { n(c).ASN, c.Attributes.Prepend = 64500, ptr[uint8](1) }, []string{"attributes.prepend every neighbor here is internal"}},
		{"no prepends to an internal neighbor", func(c *Config) { n(c).ASN, c.Attributes.Prepend = 64500, ptr[uint8](0) }, nil},
		{"a prefix that is not announced", func(c *Config) { c.PerPrefix = []PrefixConfig{{Prefix: netip.MustParsePrefix("192.0.2.0/25")}} }, []string{"per_prefix[0].prefix 192.0.2.0/25 is not one of the prefixes"}},
		{"no prefix at all", func(c *Config) { n(c).PerPrefix = []NeighborPrefixConfig{{}} }, []string{"bgp.neighbors[0].per_prefix[0].prefix is missing"}},
		{"a prefix twice", func(c *Config) {
			n(c).PerPrefix = []NeighborPrefixConfig{{Prefix: testPrefix4}, {Prefix: testPrefix6}, {Prefix: testPrefix4}}
		}, []string{"bgp.neighbors[0].per_prefix[2].prefix 192.0.2.0/24 is bgp.neighbors[0].per_prefix[0] again"}},
		{"hold-down for good", func(c *Config) { c.HoldDown.Max = 25 * time.Hour }, []string{"hold_down.max must be at most 24h0m0s"}},
		{"hold-down upside down", func(c *Config) { c.HoldDown.Max = time.Second }, []string{"hold_down.max must be at least hold_down.first, which is 30s"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
			c.change(conf)
			got := faults(conf)
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("faults:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestNothingHasADefault: a default once got announced on the real internet.
func TestNothingHasADefault(t *testing.T) {
	var c Config
	c.SetDefaults()
	got := fmt.Sprint(faults(&c))
	for _, key := range []string{"prefixes ", "bgp.asn ", "bgp.router_id ", "bgp.neighbors "} {
		if !strings.Contains(got, key) {
			t.Errorf("an empty section has no fault at %s", key)
		}
	}
}
