package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Lead has a region's router send packets for a service address another way than its daemon has learned: to another region's router, or to one
// of its own edges alone. It takes effect at once and nobody is told, as when a network far away changes its mind. Follow undoes it.
func (l *Lab) Lead(at, to string, service netip.Addr) error {
	via, err := way(at, to, service.Is6())
	if err != nil {
		return err
	}
	return Namespace(Router, at).SetRoute(alone(service), via)
}

// Follow has the region's router follow its daemon again. That it does is no error.
func (l *Lab) Follow(at string, service netip.Addr) error {
	return Namespace(Router, at).DeleteRoute(alone(service))
}

// followAll undoes every Lead.
func (l *Lab) followAll() error {
	var errs []error
	for _, name := range Regions() {
		for _, service := range services() {
			errs = append(errs, l.Follow(name, service))
		}
	}
	return errors.Join(errs...)
}

// alone is the prefix of one address, which every route to a longer range gives way to.
func alone(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// way is the next hop at a region's router towards another region, or to an edge of its own.
func way(at, to string, six bool) (netip.Addr, error) {
	for _, p := range paths {
		if _, _, other, other4, other6, ok := p.end(at); ok && other == to {
			return either(six, other4, other6), nil
		}
	}
	s, err := site(to)
	if err != nil || s.Region.Name != at {
		return netip.Addr{}, fmt.Errorf("no link leads from the router of %s to %q", at, to)
	}
	_, _, own4, own6 := s.addresses()
	return either(six, own4, own6), nil
}

func either(six bool, four4, six6 netip.Addr) netip.Addr {
	if six {
		return six6
	}
	return four4
}

// The packet filter's tables of events, each in a router's or a client's namespace. Adding before deleting makes it no error that a table
// is not there.
const (
	noTable = "table inet %[1]s\ndelete table inet %[1]s\n"
	// deafTable drops what an edge sends to another from its QUIC port. The other way stays open.
	deafTable = `table inet deaf {
	chain forward {
		type filter hook forward priority 0
		ip saddr %s ip daddr %s udp sport 443 drop
	}
}
`
	// rebindTable is a home router that gives each UDP flow to the service a port of its own. What comes to a port that it has
	// forgotten is not for anyone, and not answered.
	rebindTable = `table inet rebind {
	set ports {
		type inet_service
		size 65535
		flags dynamic
	}
	chain out {
		type nat hook postrouting priority srcnat
		udp dport 443 masquerade fully-random
	}
	chain after {
		type filter hook postrouting priority srcnat + 1
		udp dport 443 add @ports { udp sport }
	}
	chain in {
		type filter hook input priority 0
		udp sport 443 ct state new drop
	}
}
`
)

// deafen has edge b hear nothing any more from the QUIC port of edge a, which hears b.
func (l *Lab) deafen(ctx context.Context, a, b string) error {
	from, err := site(a)
	if err != nil {
		return err
	}
	to, err := site(b)
	if err != nil {
		return err
	}
	_, _, from4, _ := from.addresses()
	_, _, to4, _ := to.addresses()
	_, err = Namespace(Router, from.Region.Name).Command(ctx, fmt.Sprintf(noTable+deafTable, "deaf", from4, to4), "nft", "-f", "-")
	return err
}

// strict has a region's router drop what an edge sends from an address that the way to does not lead back through it, BCP 38 (RFC 3704 §2.2).
// IPv4 only.
func (l *Lab) strict(edge string, on bool) error {
	s, err := site(edge)
	if err != nil {
		return err
	}
	value := map[bool]string{true: "1", false: "0"}[on]
	return Namespace(Router, s.Region.Name).Sysctl(map[string]string{"net/ipv4/conf/" + s.device() + "/rp_filter": value})
}

// What a router spreads IPv4 flows over several edges by, fib_multipath_hash_policy.
const (
	byAddresses = "0"
	byPorts     = "1" // too, as the lab has it
)

func (l *Lab) spread(name, by string) error {
	return Namespace(Router, name).Sysctl(map[string]string{"net/ipv4/fib_multipath_hash_policy": by})
}

// translate puts a translation of ports in front of a region's client.
func (l *Lab) translate(ctx context.Context, name string) error {
	_, err := Namespace(Client, name).Command(ctx, fmt.Sprintf(noTable+rebindTable, "rebind"), "nft", "-f", "-")
	return err
}

// translated counts the ports that translate has given out.
func (l *Lab) translated(ctx context.Context, name string) (int, error) {
	out, err := Namespace(Client, name).Command(ctx, "", "nft", "list", "set", "inet", "rebind", "ports")
	if err != nil {
		return 0, err
	}
	_, elements, ok := strings.Cut(out, "elements = {")
	if !ok {
		return 0, nil
	}
	return strings.Count(elements, ",") + 1, nil
}

// undo removes whatever deafen, strict, spread, translate and Lead have left.
func (l *Lab) undo(ctx context.Context) error {
	errs := []error{l.followAll()}
	for _, name := range Regions() {
		_, err := Namespace(Client, name).Command(ctx, fmt.Sprintf(noTable, "rebind"), "nft", "-f", "-")
		_, ferr := Namespace(Router, name).Command(ctx, fmt.Sprintf(noTable, "deaf"), "nft", "-f", "-")
		errs = append(errs, err, ferr, l.spread(name, byPorts))
	}
	for _, s := range allSites() {
		errs = append(errs, l.strict(s.Name(), false))
	}
	return errors.Join(errs...)
}
