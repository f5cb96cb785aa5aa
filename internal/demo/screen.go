package demo

import (
	"fmt"
	"net/netip"
	"strings"
)

// changes says what differs between two tables, a line for each edge whose announcement changed and one for each client
// whose nearest edge did.
func changes(before, after *table) (lines []string) {
	for i, p := range places {
		b, a := before.routes[i], after.routes[i]
		if b.up && !a.up {
			lines = append(lines, fmt.Sprintf("route: the session with %s is gone, and its routes", p.edgeName()))
			continue
		}
		for _, held := range []struct {
			prefix        netip.Prefix
			before, after bool
		}{{prefixIPv4, b.ipv4, a.ipv4}, {prefixIPv6, b.ipv6, a.ipv6}} {
			switch {
			case !held.before && held.after:
				lines = append(lines, fmt.Sprintf("route: %s announces %s", p.edgeName(), held.prefix))
			case held.before && !held.after:
				lines = append(lines, fmt.Sprintf("route: %s withdraws %s", p.edgeName(), held.prefix))
			}
		}
	}
	for i, p := range places {
		b, hadOne := before.nearest(i)
		a, hasOne := after.nearest(i)
		switch {
		case hadOne && !hasOne:
			lines = append(lines, fmt.Sprintf("route: clients in %s have no edge left", p.name))
		case hasOne && (!hadOne || a != b):
			lines = append(lines, fmt.Sprintf("route: clients in %s go to %s", p.name, places[a].edgeName()))
		}
	}
	return lines
}

// routeTable shows who announces and where each place's clients go.
func routeTable(t *table) string {
	var b strings.Builder
	for i, p := range places {
		var held []string
		if t.routes[i].ipv4 {
			held = append(held, prefixIPv4.String())
		}
		if t.routes[i].ipv6 {
			held = append(held, prefixIPv6.String())
		}
		fmt.Fprintf(&b, "         %s announces %s\n", p.edgeName(), strings.Join(held, ", "))
	}
	for i, p := range places {
		to := "nowhere"
		if e, ok := t.nearest(i); ok {
			to = fmt.Sprintf("%s (%d km away)", places[e].edgeName(), distance(i, e))
		}
		fmt.Fprintf(&b, "         client in %s -> %s\n", p.name, to)
	}
	return b.String()
}

// manual tells what to curl, what to kill and where to look.
func (c *cluster) manual() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe anycast address, as each place's clients have it (Via names the edge that answered, X-Origin the origin):\n")
	for _, p := range places {
		fmt.Fprintf(&b, "  %s  curl -ki %s\n", p.name, p.url(c.ports, "/dynamic"))
	}
	fmt.Fprintf(&b, "  Paths: / and /dynamic (never cached), /static/anything (cached for 60 s). Versions: --http1.1, --http2, --http3-only.\n")
	fmt.Fprintf(&b, "  Plain HTTP is on port %d. To verify instead of -k: --cacert %s/ca.pem\n", c.ports.http, c.dir)
	b.WriteString(c.victims())
	fmt.Fprintf(&b, "Logs and configurations: %s\n\n", c.dir)
	return b.String()
}

// victims tells what to kill, by the pids of the moment.
func (c *cluster) victims() string {
	var b strings.Builder
	fmt.Fprintf(&b, "What to kill:\n")
	for i, p := range places {
		fmt.Fprintf(&b, "  %s  edge kill -9 %d (or -TERM: a planned stop), origin kill -9 %d; metrics http://%s/metrics\n", p.name,
			c.edge(i).pid(), c.origin(i).pid(), at(p.edgeAddr(), c.ports.admin))
	}
	return b.String()
}
