package table

import (
	"slices"
	"strings"
	"testing"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
)

func TestRowsCanBeMeasured(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		if seen[r.ID()] {
			t.Errorf("%s twice", r.ID())
		}
		seen[r.ID()] = true
		if !slices.Contains(origin.Sizes, r.Body) || r.Connections < 1 || r.Streams < 1 || r.Title == "" {
			t.Errorf("%s: %+v", r.ID(), r)
		}
		for _, name := range []string{peers.Ours, r.Peer} {
			p, err := peers.Get(name)
			if err != nil {
				t.Errorf("%s: %v", r.ID(), err)
			} else if !p.Does(r.WorkOf(p), r.Protocol) {
				t.Errorf("%s: %s does not do %s over %s", r.ID(), name, r.WorkOf(p), r.Protocol)
			}
		}
		if r.Protocol == peers.HTTP3 && r.MTU != 1500 {
			t.Errorf("%s: HTTP/3 at an MTU of %d", r.ID(), r.MTU)
		}
	}
}

// The targets are promises; they change by decision, not by accident.
func TestTargets(t *testing.T) {
	want := map[string]float64{
		"h1-1k/nginx": 0.6, "h1tls-1k/nginx": 0.7, "h2-1k/nginx": 0.25, "h1tls-100k/nginx": 0.9, "h2-100k/nginx": 0.9,
		"h3-1k/caddy": 0.2, "h3-100k/caddy": 0.7, "proxied-1k/nginx": 1, "proxied-1k/haproxy": 1, "proxied-10k/nginx": 1, "proxied-10k/haproxy": 1,
		"idle/caddy": 0.5,
	}
	for _, r := range Rows() {
		if r.Target != want[r.ID()] {
			t.Errorf("%s: target %v, want %v", r.ID(), r.Target, want[r.ID()])
		}
		delete(want, r.ID())
	}
	if len(want) > 0 {
		t.Errorf("rows are missing: %v", want)
	}
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		names []string
		peer  string
		want  string
		fault string
	}{
		{names: []string{"proxied-1k"}, want: "proxied-1k/nginx proxied-1k/haproxy"},
		{names: []string{"proxied-1k/haproxy", "h3-1k"}, want: "h3-1k/caddy proxied-1k/haproxy"},
		{peer: "varnish", want: "h1-1k/varnish"},
		{names: []string{"h2-1k"}, peer: "h2o", want: "h2-1k/h2o"},
		{names: []string{"h9"}, fault: `no row "h9"; there are h1-1k, h1-10k`},
		{peer: "apache", fault: `no row with peer "apache"; there are nginx`},
		{names: []string{"h3-1k"}, peer: "nginx", fault: "none of the rows h3-1k is with nginx"},
	} {
		rows, err := Select(Rows(), c.names, c.peer)
		var ids []string
		for _, r := range rows {
			ids = append(ids, r.ID())
		}
		if got := strings.Join(ids, " "); got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%v %s: %q, %v", c.names, c.peer, got, err)
		}
	}
	if rows, err := Select(Rows(), nil, ""); err != nil || len(rows) != len(Rows()) {
		t.Errorf("all: %d rows, %v", len(rows), err)
	}
}
