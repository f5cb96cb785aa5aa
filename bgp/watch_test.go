package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// rawPath is an UPDATE that announces an IPv4 prefix, with a path identifier unless that is negative.
func rawPath(p netip.Prefix, id int, path ...uint32) message {
	attrs := []byte{0x40, 1, 1, 0, 0x40, attrASPath, byte(4*len(path) + 2), segmentSequence, byte(len(path))}
	for _, n := range path {
		attrs = binary.BigEndian.AppendUint32(attrs, n)
	}
	return makeUpdate(nil, append(attrs, 0x40, attrNextHop, 4, 198, 51, 100, 1), rawNLRI(p, id))
}

func rawNLRI(p netip.Prefix, id int) (b []byte) {
	if id >= 0 {
		b = binary.BigEndian.AppendUint32(nil, uint32(id))
	}
	return append(append(b, byte(p.Bits())), p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

var endOfRIBs = slices.Concat(makeMessage(typeUpdate, []byte(endOfRIB[0])), makeMessage(typeUpdate, []byte(endOfRIB[1])))

// others waits for what the view says of the IPv4 prefix.
func (e *edge) others(what string, seen, known bool) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("%s: seen %v, known %v", what, seen, known), func() bool {
		s, k := e.View().Others(testPrefix4)
		return s == seen && k == known
	})
}

// addPathOf is the ADD-PATH capability in an OPEN's body.
func addPathOf(t *testing.T, b []byte) []addPathFamily {
	t.Helper()
	o, err := parseOpen(b)
	if err != nil {
		t.Fatal(err)
	}
	return o.addPath
}

// TestViewOfAllPaths goes through a session's life with a router that sends all its paths.
func TestViewOfAllPaths(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	r.open.addPath = []addPathFamily{{familyIPv4, addPathSend}, {familyIPv6, addPathSend | addPathReceive}}
	c := testConfig(r.addrPort())
	withView(c, ViewAddPath)
	e := startEdge(t, c)
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	if got, want := addPathOf(t, s.ours), []addPathFamily{{familyIPv4, addPathReceive}, {familyIPv6, addPathReceive}}; !slices.Equal(got, want) {
		t.Errorf("our OPEN has ADD-PATH %v, want %v", got, want)
	}
	e.others("nothing told yet", false, false)
	s.send(rawPath(testPrefix4, 1, 64511, 64500))
	s.send(rawPath(testPrefix4, 2, 64511, 64501, 64500))
	e.others("another region", true, true)
	if v := e.View(); !v.Neighbors[0].Accepted(testPrefix4) || v.Neighbors[0].Complete {
		t.Errorf("view is %+v", v)
	}
	s.send(endOfRIBs)
	s.send(makeUpdate(rawNLRI(testPrefix4, 2), nil, nil))
	e.others("the other is gone", false, true)
	s.send(rawPath(beaconNyc, 7, 64511, 64501, 64500))
	e.eventually("the beacon of nyc", func() bool { rs := e.View().Regions(); return rs[0].Seen && !rs[1].Seen && !rs[1].Known })
	if got := e.metric(`nearcast_bgp_beacon_seen{region="nyc"}`); got != "1" {
		t.Errorf("the beacon's metric is %q", got)
	}
	if got := e.metric(fmt.Sprintf(`nearcast_bgp_view_paths{neighbor="%s",prefix="192.0.2.0/24"}`, r.addrPort())); got != "1" {
		t.Errorf("the paths' metric is %q, want 1", got)
	}
	if got := e.metric(fmt.Sprintf(`nearcast_bgp_view_complete{neighbor="%s"}`, r.addrPort())); got != "1" {
		t.Errorf("the view's metric is %q, want 1", got)
	}
	st := e.Status()[0]
	if st.View == nil || !st.View.Complete || !st.View.Prefixes[0].AddPath || !st.View.Prefixes[0].Announced || st.Filtered != 4 {
		t.Errorf("status is %+v, view %+v", st, st.View)
	}

	s.conn.Close()
	e.others("the session is lost", false, false)
	s = r.session(1)
	s.send(rawPath(testPrefix4, 2, 64511, 64501, 64500))
	e.others("a new session tells anew", true, true)
	if strings.Contains(e.log.String(), "ADD-PATH") {
		t.Error("a line complains of ADD-PATH")
	}
}

// TestViewOfBestPaths: a router that can't send all paths is asked all the same, said so, and read for what it tells.
func TestViewOfBestPaths(t *testing.T) {
	for _, mode := range []ViewMode{ViewBest, ViewAddPath} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRouter(t, "127.0.0.2:0", 64511)
			c := testConfig(r.addrPort())
			withView(c, mode)
			e := startEdge(t, c)
			e.setRoutes(testPrefix4)
			s := r.session(0)
			r.want("the prefix", func() bool { return len(s.routes) == 1 })
			if asked := len(addPathOf(t, s.ours)) > 0; asked != (mode == ViewAddPath) {
				t.Errorf("ADD-PATH in our OPEN: %v", asked)
			}
			s.send(rawPath(testPrefix4, -1, 64511, 64500))
			s.send(rawPath(beaconNyc, -1, 64511, 64501, 64500))
			s.send(endOfRIBs)
			e.eventually("the beacon", func() bool { return e.View().Regions()[0].Seen })
			e.eventually("all to be told", func() bool { return e.View().Neighbors[0].Complete })
			e.others("our own path hides the others'", false, false)
			if e.View().Neighbors[0].Prefixes[0].AddPath {
				t.Error("path identifiers are expected of a router that did not agree to them")
			}
			if said := e.log.has("it does not send all its paths (ADD-PATH)"); said != (mode == ViewAddPath) {
				t.Errorf("a line that says so: %v", said)
			}
		})
	}
}

// TestNoViewNoCapability: without a view nothing of it is on the wire or in the status.
func TestNoViewNoCapability(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	r.open.addPath = []addPathFamily{{familyIPv4, addPathSend}}
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4)
	s := r.session(0)
	r.want("the prefix", func() bool { return len(s.routes) == 1 })
	checkOpen(t, s.ours)
	s.send(rawPath(testPrefix4, -1, 64511, 64501, 64500))
	e.eventually("it to be counted", func() bool { return e.Status()[0].Filtered == 1 })
	if v := e.View(); len(v.Neighbors) != 0 || e.Status()[0].View != nil {
		t.Errorf("view is %+v", v)
	}
}

// TestMalformedUpdatesDoNotEndAWatchedSession, nor make the view say what it does not know; and the router is asked to tell all again.
func TestMalformedUpdatesDoNotEndAWatchedSession(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	c := testConfig(r.addrPort())
	withView(c, ViewBest)
	e := startEdge(t, c)
	s := r.session(0)
	s.send(rawPath(testPrefix4, -1, 64511, 64501, 64500))
	s.send(endOfRIBs)
	e.others("another region", true, true)
	evil, malformed := evilUpdates(), 0
	for _, m := range evil {
		s.send(m)
		if len(m) > maxMessageSize || testScanner(false).scan(m.body()) != nil {
			malformed++
		}
	}
	e.others("uncertain", false, false)
	r.want("to be asked for both families", func() bool { return slices.Equal(s.refreshes, []family{familyIPv4, familyIPv6}) })
	e.eventually("each to be counted", func() bool { return e.Status()[0].Filtered == uint64(1+len(evil)) })
	if got := e.metric(fmt.Sprintf(`nearcast_bgp_view_malformed_updates_total{neighbor="%s"}`, r.addrPort())); got != fmt.Sprint(malformed) || malformed < 5 {
		t.Errorf("%s malformed UPDATEs are counted, want %d", got, malformed)
	}
	s.send(rawPath(testPrefix4, -1, 64511, 64501, 64500))
	e.others("told again", true, true)
	if st := e.Status()[0]; st.State != SessionEstablished || st.LastDown != "" {
		t.Errorf("status is %+v", st)
	}
}
