package bgp

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testAdjIn is a single neighbor's, established, with both families.
func testAdjIn(m ViewMode) *adjIn { return newScene(m).v.inputs[0] }

// viewScene is an edge of AS 64500 in fra whose router is of AS 64511, without a network: what is told goes straight into the view.
type viewScene struct {
	v   *viewer
	now time.Time
}

// newScene has a neighbor for each mode, of AS 64511, 64512 and so on, all established.
func newScene(modes ...ViewMode) *viewScene {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	withView(c, modes[0])
	for i, m := range modes[1:] {
		n := c.BGP.Neighbors[0]
		n.Address, n.ASN, n.View = netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}), 64512+uint32(i), m
		c.BGP.Neighbors = append(c.BGP.Neighbors, n)
	}
	sc := &viewScene{v: newViewer(c, metrics.NewSet(), epoch.Add(-time.Hour)), now: epoch}
	for i := range modes {
		sc.up(i)
	}
	return sc
}

func (sc *viewScene) up(i int) {
	a := sc.v.inputs[i]
	if a == nil {
		return
	}
	all := a.config.View == ViewAddPath
	a.begin([2]inFamily{{agreed: true, addPath: all}, {agreed: true, addPath: all}})
	a.establish(sc.now)
}

// scanner is of the session with neighbor i.
func (sc *viewScene) scanner(i int) *scanner {
	all := sc.v.inputs[i].config.View == ViewAddPath
	return &scanner{watched: sc.v.watched, agreed: [2]bool{true, true}, addPath: [2]bool{all, all}, fourOctet: true}
}

// tell has neighbor i announce an IPv4 prefix; withdraw has it withdraw it.
func (sc *viewScene) tell(i int, p netip.Prefix, id uint32, communities string, path ...uint32) {
	s := sc.scanner(i)
	attrs := binary.BigEndian.AppendUint16([]byte{0x50, attrASPath}, uint16(4*len(path)+2))
	attrs = append(attrs, segmentSequence, byte(len(path)))
	for _, n := range path {
		attrs = binary.BigEndian.AppendUint32(attrs, n)
	}
	if len(path) == 0 {
		attrs = []byte{0x40, attrASPath, 0}
	}
	sc.update(i, s, nil, append(attrs, communities...), sc.nlri(s, p, id))
}

func (sc *viewScene) withdraw(i int, p netip.Prefix, id uint32) {
	s := sc.scanner(i)
	sc.update(i, s, sc.nlri(s, p, id), nil, nil)
}

func (sc *viewScene) nlri(s *scanner, p netip.Prefix, id uint32) (b []byte) {
	if s.addPath[inet4] {
		b = binary.BigEndian.AppendUint32(nil, id)
	}
	return append(append(b, byte(p.Bits())), p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

func (sc *viewScene) update(i int, s *scanner, withdrawn, attrs, nlri []byte) {
	sc.v.inputs[i].heard(s, s.scan(rawUpdate(withdrawn, attrs, nlri).body()), sc.now)
}

func (sc *viewScene) announced(i int, p netip.Prefix) {
	sc.v.inputs[i].sent([]netip.Prefix{p}, nil, sc.now)
}

func (sc *viewScene) withdrew(i int, p netip.Prefix) {
	sc.v.inputs[i].sent(nil, []netip.Prefix{p}, sc.now)
}

func (sc *viewScene) ended(i int) {
	for f := range numFamilies {
		sc.v.inputs[i].endOfRIB(f)
	}
}

func (sc *viewScene) view() View {
	sc.v.look(sc.now)
	return *sc.v.view.Load()
}

// drain is the GRACEFUL_SHUTDOWN community as an attribute.
const drain = "\xc0\x08\x04\xff\xff\x00\x00"

// TestOthers: whether another edge's announcement is seen, and when that can't be told.
func TestOthers(t *testing.T) {
	p := testPrefix4
	cases := []struct {
		name        string
		modes       []ViewMode
		do          func(*viewScene)
		seen, known bool
	}{
		{"no view", []ViewMode{ViewOff}, func(*viewScene) {}, false, false},
		{"all paths, nothing told yet", []ViewMode{ViewAddPath}, func(*viewScene) {}, false, false},
		{"all told, and never a path of our AS: it may be keeping them to itself", []ViewMode{ViewAddPath}, func(sc *viewScene) { sc.ended(0) }, false, false},
		{"another region", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
		}, true, true},
		{"our own come back, and nothing else", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500, 64500)
			sc.ended(0)
		}, false, true},
		{"our own come back, before all is told", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500)
			sc.now = sc.now.Add(29 * time.Second)
		}, false, false},
		{"our own come back, and half a minute has passed without End-of-RIB", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500)
			sc.now = sc.now.Add(30 * time.Second)
		}, false, true},
		{"the other is gone", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.ended(0)
			sc.withdraw(0, p, 1)
		}, false, true},
		{"one of two others is gone", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.tell(0, p, 2, "", 64511, 64502, 64500)
			sc.ended(0)
			sc.withdraw(0, p, 1)
		}, true, true},
		{"the other is about to go", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, drain, 64511, 64501, 64500)
			sc.ended(0)
		}, false, true},
		{"another prefix says nothing: the router may be told to send beacons alone", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, beaconNyc, 1, "", 64511, 64501, 64500)
			sc.tell(0, testPrefix4, 1, "", 64511, 64501)
			sc.ended(0)
		}, false, false},
		{"another AS has our prefix", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500)
			sc.tell(0, p, 2, "", 64511, 64501, 64999)
			sc.tell(0, p, 3, "", 64511)
			sc.ended(0)
		}, false, true},
		{"best paths hide the others while we announce", []ViewMode{ViewBest}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 0, "", 64511, 64500)
			sc.ended(0)
		}, false, false},
		{"best paths show another that is better than ours", []ViewMode{ViewBest}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 0, "", 64511, 64501, 64500)
		}, true, true},
		{"best paths after our withdrawal: what is left may be ours for a while", []ViewMode{ViewBest}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 0, "", 64511, 64500)
			sc.ended(0)
			sc.withdrew(0, p)
		}, false, false},
		{"best paths after our withdrawal: then it is another edge's behind the same AS", []ViewMode{ViewBest}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 0, "", 64511, 64500)
			sc.ended(0)
			sc.withdrew(0, p)
			sc.now = sc.now.Add(30 * time.Second)
		}, true, true},
		{"best paths after our withdrawal: nobody", []ViewMode{ViewBest}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 0, "", 64511, 64500)
			sc.ended(0)
			sc.withdrew(0, p)
			sc.withdraw(0, p, 0)
			sc.now = sc.now.Add(30 * time.Second)
		}, false, true},
		{"our own by way of our other router", []ViewMode{ViewAddPath, ViewOff}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.announced(1, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64512, 64500)
			sc.ended(0)
		}, false, true},
		{"the same when that router does not have it from us", []ViewMode{ViewAddPath, ViewOff}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64512, 64500)
		}, true, true},
		{"the other router's session is lost: it may keep ours for its hold time", []ViewMode{ViewAddPath, ViewOff}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.announced(1, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64512, 64500)
			sc.ended(0)
			sc.v.inputs[1].finish(sc.now)
			sc.now = sc.now.Add(38 * time.Second)
		}, false, true},
		{"the other router's session was lost long ago", []ViewMode{ViewAddPath, ViewOff}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.announced(1, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64512, 64500)
			sc.v.inputs[1].finish(sc.now)
			sc.now = sc.now.Add(39 * time.Second)
		}, true, true},
		{"two paths straight from the router's AS to ours: one is not this edge's", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500)
			sc.tell(0, p, 2, "", 64511, 64500)
			sc.ended(0)
		}, false, false},
		{"a path with a set", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64500)
			s := sc.scanner(0)
			sc.update(0, s, nil, []byte("\x40\x02\x0a\x01\x02\x00\x00\xfb\xf5\x00\x00\xfb\xf4"), sc.nlri(s, p, 2))
			sc.ended(0)
		}, false, false},
		{"a malformed path, then a right one in its place", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			s := sc.scanner(0)
			sc.update(0, s, nil, []byte("\x40\x02\x02\x02\x01"), sc.nlri(s, p, 1))
			sc.tell(0, p, 1, "", 64511, 64500)
			sc.ended(0)
		}, false, true},
		{"malformed communities could have said that it is about to go", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "\xc0\x08\x03\xff\xff\x00", 64511, 64501, 64500)
			sc.ended(0)
		}, false, false},
		{"an UPDATE that can't be read to its end may have withdrawn what is seen", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.ended(0)
			sc.update(0, sc.scanner(0), []byte{99}, nil, nil)
		}, false, false},
		{"one too long to be read, too", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.ended(0)
			sc.v.inputs[0].skipped()
		}, false, false},
		{"told anew after that, and all that there is", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.ended(0)
			sc.update(0, sc.scanner(0), []byte{99}, nil, nil)
			sc.v.inputs[0].askAnew(sc.now)
			sc.tell(0, p, 2, "", 64511, 64500)
			sc.now = sc.now.Add(30 * time.Second)
		}, false, true},
		{"the session is lost", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.tell(0, p, 1, "", 64511, 64501, 64500)
			sc.ended(0)
			sc.v.inputs[0].finish(sc.now)
		}, false, false},
		{"one of two routers tells of all paths", []ViewMode{ViewBest, ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			sc.announced(1, p)
			sc.tell(1, p, 1, "", 64512, 64500)
			sc.ended(1)
		}, false, true},
		{"more paths than are kept, none of them another's", []ViewMode{ViewAddPath}, func(sc *viewScene) {
			sc.announced(0, p)
			for id := range maxPaths + 1 {
				sc.tell(0, p, uint32(id), "", 64511, 64501, 64511, 64500)
			}
			sc.ended(0)
		}, false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sc := newScene(c.modes...)
			c.do(sc)
			v := sc.view()
			if seen, known := v.Others(p); seen != c.seen || known != c.known {
				t.Errorf("seen %v, known %v; want %v, %v; view %+v", seen, known, c.seen, c.known, v)
			}
			if got := v.Seen([]netip.Prefix{testPrefix6, p}); slices.Contains(got, p) != c.seen || len(got) > 1 {
				t.Errorf("seen are %v", got)
			}
			if _, known := v.Others(netip.MustParsePrefix("203.0.113.0/24")); known {
				t.Error("a prefix that is not watched is known of")
			}
		})
	}
}

// TestViewAfterARestart: what this edge announced before it may still be going round, and is not taken for another's.
func TestViewAfterARestart(t *testing.T) {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	withView(c, ViewBest)
	sc := &viewScene{v: newViewer(c, metrics.NewSet(), epoch), now: epoch}
	sc.up(0)
	sc.tell(0, testPrefix4, 0, "", 64511, 64500)
	sc.ended(0)
	sc.now = epoch.Add(38 * time.Second)
	if seen, known := sc.view().Others(testPrefix4); seen || known {
		t.Errorf("seen %v, known %v before the old announcement must be gone", seen, known)
	}
	sc.now = epoch.Add(39 * time.Second)
	if seen, _ := sc.view().Others(testPrefix4); !seen {
		t.Error("nobody is seen after that")
	}
}

// TestInternalNeighbors: within our own AS a route reflector's ORIGINATOR_ID tells edges apart (RFC 4456).
func TestInternalNeighbors(t *testing.T) {
	originator := func(id string) string {
		return "\x80\x09\x04" + string(netip.MustParseAddr(id).AsSlice())
	}
	cases := []struct {
		name       string
		attributes string
		want       PathKind
	}{
		{"ours, reflected", originator("198.51.100.2"), PathOwn},
		{"another edge's", originator("198.51.100.77"), PathOther},
		{"the router's own", "", PathForeign},
		{"an ORIGINATOR_ID of three bytes", "\x80\x09\x03abc", PathForeign},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sc := newScene(ViewAddPath)
			sc.v.inputs[0].config.ASN = 64500
			sc.announced(0, testPrefix4)
			sc.tell(0, testPrefix4, 1, c.attributes)
			v := sc.view()
			if got := v.Neighbors[0].Prefixes[0].Paths[0].Kind; got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestRegions: every other region's beacon, whatever the mode, and not our own.
func TestRegions(t *testing.T) {
	sc := newScene(ViewBest, ViewBest)
	want := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, r := range sc.view().Regions() {
			got = append(got, fmt.Sprintf("%s %v/%v draining %v", r.Region, r.Seen, r.Known, r.Draining))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s, want %s", what, strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	want("at first nothing is known", "nyc false/false draining false", "tyo false/false draining false")
	sc.announced(0, beaconOwn)
	sc.announced(0, testPrefix4)
	sc.tell(0, beaconNyc, 0, "", 64511, 64501, 64500)
	sc.tell(0, beaconOwn, 0, "", 64511, 64500)
	want("one beacon", "nyc true/true draining false", "tyo false/false draining false")
	sc.ended(0)
	want("all told", "nyc true/true draining false", "tyo false/false draining false")
	sc.tell(0, beaconNyc, 0, drain, 64511, 64501, 64500)
	want("about to go", "nyc false/true draining true", "tyo false/false draining false")
	sc.tell(1, beaconNyc, 0, "", 64512, 64501, 64999)
	want("seen elsewhere, of whatever AS", "nyc true/true draining false", "tyo false/false draining false")
	sc.v.inputs[1].finish(sc.now)
	sc.withdraw(0, beaconNyc, 0)
	want("gone; the other has never been seen, so its absence says nothing", "nyc false/true draining false", "tyo false/false draining false")
	if sc = newScene(ViewOff); sc.view().Regions() != nil {
		t.Error("regions without a view")
	}
}

// TestViewAsJSON: what /status shows of a neighbor.
func TestViewAsJSON(t *testing.T) {
	sc := newScene(ViewAddPath)
	sc.announced(0, testPrefix4)
	sc.tell(0, testPrefix4, 7, drain, 64511, 64501, 64500)
	v := sc.view()
	got, err := json.Marshal(v.Neighbors[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"mode":"add-path","complete":false,"prefixes":[{"prefix":"192.0.2.0/24","complete":false,"add_path":true,"announced":true,"shown":true,` +
		`"paths":[{"id":7,"kind":"other","as_path":[64511,64501,64500],"graceful_shutdown":true,"since":"2026-01-01T00:00:00Z"}]},{"prefix":"2001:db8:53::/48",`
	if !strings.HasPrefix(string(got), want) || !strings.Contains(string(got), `"beacon_of":"nyc"`) {
		t.Errorf("%s\nwant it to begin\n%s", got, want)
	}
}

// TestAccepted: what a router echoes of ours proves that it has it.
func TestAccepted(t *testing.T) {
	sc := newScene(ViewAddPath)
	accepted := func() bool { v := sc.view(); return v.Neighbors[0].Accepted(testPrefix4) }
	sc.announced(0, testPrefix4)
	sc.tell(0, testPrefix4, 1, "", 64511, 64501, 64500)
	if accepted() {
		t.Error("another's path passes for the echo")
	}
	sc.tell(0, testPrefix4, 2, "", 64511, 64500, 64500)
	if !accepted() {
		t.Error("the echo proves nothing")
	}
	sc.withdrew(0, testPrefix4)
	if accepted() {
		t.Error("an echo of what is withdrawn proves something")
	}
}

// TestWakesWhenTheViewChanges, and only then.
func TestWakesWhenTheViewChanges(t *testing.T) {
	sc := newScene(ViewAddPath)
	woken := func(what string, want bool) {
		t.Helper()
		sc.view()
		select {
		case <-sc.v.changed:
			if !want {
				t.Errorf("woken by %s", what)
			}
		default:
			if want {
				t.Errorf("not woken by %s", what)
			}
		}
	}
	woken("the start", true)
	sc.tell(0, testPrefix4, 1, "", 64511, 64501, 64500)
	woken("a path", true)
	since := sc.view().Neighbors[0].Prefixes[0].Paths[0].Since
	sc.now = sc.now.Add(time.Second)
	sc.tell(0, testPrefix4, 1, "", 64511, 64501, 64500)
	sc.withdraw(0, testPrefix4, 9)
	woken("the same path again, and a withdrawal of what was not there", false)
	if got := sc.view().Neighbors[0].Prefixes[0].Paths[0].Since; got != since {
		t.Errorf("since %v, want %v", got, since)
	}
	sc.tell(0, testPrefix4, 1, drain, 64511, 64501, 64500)
	woken("a community", true)
	if until := sc.v.look(sc.now); !until.Equal(epoch.Add(30 * time.Second)) {
		t.Errorf("looks again at %v", until)
	}
	sc.now = epoch.Add(30 * time.Second)
	woken("having been told all", true)
	sc.announced(0, testPrefix4)
	woken("an announcement", true)
	sc.withdrew(0, testPrefix4)
	woken("a withdrawal", true)
	if until := sc.v.look(sc.now); !until.Equal(sc.now.Add(30 * time.Second)) {
		t.Errorf("looks again at %v", until)
	}
	sc.now = sc.now.Add(30 * time.Second)
	woken("the end of its echo", true)
	if until := sc.v.look(sc.now); !until.IsZero() {
		t.Errorf("looks again at %v with nothing to wait for", until)
	}
}

// TestViewLooksAgainByItself when a wait is over, with nobody telling it anything.
func TestViewLooksAgainByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(ViewAddPath)
		sc.now = time.Now()
		sc.up(0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); sc.v.run(ctx) }()
		sc.announced(0, testPrefix4)
		sc.tell(0, testPrefix4, 1, "", 64511, 64500)
		known := func() bool { _, known := sc.v.view.Load().Others(testPrefix4); return known }
		time.Sleep(30*time.Second - time.Millisecond)
		if synctest.Wait(); known() {
			t.Error("all is told before half a minute has passed")
		}
		<-sc.v.changed
		time.Sleep(time.Millisecond)
		if synctest.Wait(); !known() {
			t.Error("half a minute has passed unnoticed")
		}
		<-sc.v.changed
		sc.v.inputs[0].finish(time.Now())
		cancel()
		if <-done; sc.v.view.Load().Neighbors[0].Established {
			t.Error("the last view has a session that has ended")
		}
	})
}

// TestPathsAreBounded in number and length, and a withdrawal makes room.
func TestPathsAreBounded(t *testing.T) {
	sc := newScene(ViewAddPath)
	long := slices.Repeat([]uint32{64501}, 200)
	for id := range 3 * maxPaths {
		sc.tell(0, testPrefix4, uint32(id), "", append(append([]uint32{64511}, long...), 64500)...)
	}
	p := sc.view().Neighbors[0].Prefixes[0]
	if len(p.Paths) != maxPaths || !p.Overflowed || len(p.Paths[0].ASPath) != maxASPath || p.Paths[0].Kind != PathOther {
		t.Errorf("%d paths, overflowed %v, first %+v", len(p.Paths), p.Overflowed, p.Paths[0])
	}
	if got := sc.v.inputs[0].metrics.overflow.Get(); got != 2*maxPaths {
		t.Errorf("%d counted as not kept, want %d", got, 2*maxPaths)
	}
	sc.withdraw(0, testPrefix4, 0)
	sc.tell(0, testPrefix4, 4000000000, "", 64511, 64500)
	p = sc.view().Neighbors[0].Prefixes[0]
	if n := len(p.Paths); n != maxPaths || p.Paths[n-1].ID != 4000000000 || p.Paths[0].ID != 1 {
		t.Errorf("%d paths, from %d to %d", n, p.Paths[0].ID, p.Paths[n-1].ID)
	}
}

// TestAskingAnewIsRare: a router that sends one malformed UPDATE after the other is not made to send its table again and again.
func TestAskingAnewIsRare(t *testing.T) {
	sc := newScene(ViewAddPath)
	asked := 0
	for range 3600 {
		sc.v.inputs[0].skipped()
		if sc.v.inputs[0].askAnew(sc.now) {
			asked++
		}
		sc.now = sc.now.Add(time.Second)
	}
	if asked != 12 {
		t.Errorf("asked %d times in an hour, want 12", asked)
	}
}
