package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// sentRoute is what the router was told of a prefix.
type sentRoute struct {
	route *announcement
	attrs string    // as they were encoded
	since time.Time // when it was sent first
}

// sent notes what one of our UPDATEs has told the router, and with which octet of the session it ended.
func (n *neighbor) sent(o outgoing, end int64) {
	now := time.Now()
	n.mu.Lock()
	for _, p := range o.withdrawn {
		delete(n.routes, p)
		n.unacked[p] = end
	}
	for _, a := range o.announced {
		sent := sentRoute{route: a, attrs: o.attrs, since: now}
		if before, ok := n.routes[a.prefix]; ok && before.attrs == o.attrs {
			sent.since = before.since
		}
		n.routes[a.prefix] = sent
		n.unacked[a.prefix] = end
	}
	n.mu.Unlock()
	n.speaker.changed.notify()
}

// upToDate says whether the router has been told all of wanted, as it is wanted, and nothing else; without a session there is nothing to tell.
func (n *neighbor) upToDate(wanted map[netip.Prefix]wish) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != SessionEstablished {
		return true
	}
	count := 0
	for p, r := range wanted {
		if !slices.Contains(n.agreed, familyOf(p)) {
			continue
		}
		if sent, ok := n.routes[p]; !ok || sent.route.asked != r.Route {
			return false
		}
		count++
	}
	return count == len(n.routes)
}
