// Package table measures nearcast and its peers side by side: for every row pairs of runs in turn, ours and the peer's back to back, so
// that whatever else the machine does meets both alike.
//
// What is compared is the CPU time that a server's processes take for a request, which swings less than requests a second; for idle
// connections it is the memory that one takes.
package table

import (
	"fmt"
	"slices"
	"strings"

	"nearcast/bench/peers"
)

// Row is one comparison with one peer.
type Row struct {
	Name        string         `json:"name"` // of the case; rows with other peers have the same
	Title       string         `json:"title"`
	Peer        string         `json:"peer"`
	Protocol    peers.Protocol `json:"protocol"`
	Proxied     bool           `json:"proxied"`    // asked of the origin each time, instead of hits
	Body        int            `json:"body_bytes"` // one of origin.Sizes
	Connections int            `json:"connections"`
	Streams     int            `json:"streams"` // requests at a time on one connection
	// Idle rows compare the memory of connections that have made one request and wait, instead of the CPU time of a request.
	Idle bool `json:"idle"`
	// Target is what ours over the peer's may be at most. 0: the row is for information.
	Target float64 `json:"target,omitempty"`
	// MTU of loopback in bytes. 0: the kernel's own, 65536.
	MTU int `json:"mtu,omitempty"`
}

// ID names the row among all rows.
func (r Row) ID() string { return r.Name + "/" + r.Peer }

// Unit is what its values are in.
func (r Row) Unit() string {
	if r.Idle {
		return "KiB/connection"
	}
	return "µs/request"
}

// WorkOf is the work of a server in this row.
func (r Row) WorkOf(p peers.Peer) peers.Work {
	if r.Proxied {
		return peers.Proxied
	}
	return p.Hits
}

// target is a peer of a case and what is to be reached against it.
type target struct {
	peer  string
	ratio float64
}

// lan is the MTU of HTTP/3 rows: packets as large as loopback takes would flatter a QUIC server that looks for them.
const lan = 1500

// Rows is the whole table. The targets are those of the project.
func Rows() []Row {
	var rows []Row
	add := func(r Row, targets ...target) {
		for _, t := range targets {
			r.Peer, r.Target = t.peer, t.ratio
			rows = append(rows, r)
		}
	}
	add(Row{Name: "h1-1k", Title: "cached 1 KiB, HTTP/1.1", Protocol: peers.HTTP1, Body: 1 << 10, Connections: 64, Streams: 1},
		target{"nginx", 0.6}, target{"haproxy", 0}, target{"varnish", 0}, target{"trafficserver", 0})
	add(Row{Name: "h1-10k", Title: "cached 10 KiB, HTTP/1.1", Protocol: peers.HTTP1, Body: 10 << 10, Connections: 64, Streams: 1},
		target{"nginx", 0})
	add(Row{Name: "h1tls-1k", Title: "cached 1 KiB, HTTP/1.1 and TLS", Protocol: peers.HTTP1TLS, Body: 1 << 10, Connections: 64, Streams: 1},
		target{"nginx", 0.7})
	add(Row{Name: "h1tls-100k", Title: "cached 100 KiB, HTTP/1.1 and TLS", Protocol: peers.HTTP1TLS, Body: 100 << 10, Connections: 64, Streams: 1},
		target{"nginx", 0.9})
	add(Row{Name: "h2-1k", Title: "cached 1 KiB, HTTP/2", Protocol: peers.HTTP2, Body: 1 << 10, Connections: 32, Streams: 32},
		target{"nginx", 0.25}, target{"h2o", 0}, target{"haproxy", 0}, target{"trafficserver", 0})
	add(Row{Name: "h2-1k-one", Title: "cached 1 KiB, HTTP/2, one stream a connection", Protocol: peers.HTTP2, Body: 1 << 10, Connections: 64, Streams: 1},
		target{"nginx", 0})
	add(Row{Name: "h2-100k", Title: "cached 100 KiB, HTTP/2", Protocol: peers.HTTP2, Body: 100 << 10, Connections: 16, Streams: 8},
		target{"nginx", 0.9})
	add(Row{Name: "h3-1k", Title: "cached 1 KiB, HTTP/3", Protocol: peers.HTTP3, Body: 1 << 10, Connections: 32, Streams: 32, MTU: lan},
		target{"caddy", 0.2})
	add(Row{Name: "h3-1k-one", Title: "cached 1 KiB, HTTP/3, one stream a connection", Protocol: peers.HTTP3, Body: 1 << 10, Connections: 64, Streams: 1, MTU: lan},
		target{"caddy", 0})
	add(Row{Name: "h3-100k", Title: "cached 100 KiB, HTTP/3", Protocol: peers.HTTP3, Body: 100 << 10, Connections: 16, Streams: 8, MTU: lan},
		target{"caddy", 0.7})
	add(Row{Name: "proxied-1k", Title: "proxied 1 KiB, HTTP/1.1", Protocol: peers.HTTP1, Body: 1 << 10, Proxied: true, Connections: 64, Streams: 1},
		target{"nginx", 1}, target{"haproxy", 1})
	add(Row{Name: "proxied-10k", Title: "proxied 10 KiB, HTTP/1.1", Protocol: peers.HTTP1, Body: 10 << 10, Proxied: true, Connections: 64, Streams: 1},
		target{"nginx", 1}, target{"haproxy", 1})
	add(Row{Name: "idle", Title: "idle HTTPS connection", Protocol: peers.HTTP1TLS, Body: 1 << 10, Connections: 4000, Streams: 1, Idle: true},
		target{"caddy", 0.5}, target{"nginx", 0})
	return rows
}

// Select returns the rows of these names (a case such as h1-1k, or one row such as h1-1k/nginx; none: all) with this peer ("": any).
func Select(rows []Row, names []string, peer string) ([]Row, error) {
	for _, name := range names {
		if !slices.ContainsFunc(rows, func(r Row) bool { return name == r.Name || name == r.ID() }) {
			return nil, fmt.Errorf("no row %q; there are %s", name, strings.Join(cases(rows), ", "))
		}
	}
	if peer != "" && !slices.ContainsFunc(rows, func(r Row) bool { return r.Peer == peer }) {
		return nil, fmt.Errorf("no row with peer %q; there are %s", peer, strings.Join(peers.Names()[1:], ", "))
	}
	var selected []Row
	for _, r := range rows {
		named := len(names) == 0 || slices.Contains(names, r.Name) || slices.Contains(names, r.ID())
		if named && (peer == "" || r.Peer == peer) {
			selected = append(selected, r)
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("none of the rows %s is with %s", strings.Join(names, ", "), peer)
	}
	return selected, nil
}

func cases(rows []Row) []string {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}
