package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/internal/lab/netns"
)

// These tests have the real daemons say what they hold of the speaker's announcements. They make two namespaces of their own, with one link.

const (
	routerSpace = netns.Namespace("attributes-r")
	edgeSpace   = netns.Namespace("attributes-e")
	edgeEnv     = "NEARCAST_TEST_EDGE"
	patience    = 20 * time.Second
)

// TestMain is the edge when it is started as one.
func TestMain(m *testing.M) {
	if text := os.Getenv(edgeEnv); text != "" {
		if err := runEdge([]byte(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runEdge announces the routes of each line of standard input, and answers each with its status.
func runEdge(text []byte) error {
	c := new(bgp.Config)
	c.SetDefaults()
	if err := json.Unmarshal(text, c); err != nil {
		return err
	}
	var faults []string
	c.Validate(func(key, fault string) { faults = append(faults, key+" "+fault) })
	if faults != nil {
		return fmt.Errorf("%v", faults)
	}
	s, err := bgp.NewSpeaker(c, slog.New(slog.NewTextHandler(os.Stderr, nil)), metrics.NewSet())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if line := in.Bytes(); len(line) > 0 {
			var routes []bgp.Route
			if err := json.Unmarshal(line, &routes); err != nil {
				return err
			}
			s.SetRoutes(routes)
		}
		if err := json.NewEncoder(os.Stdout).Encode(s.Status()); err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

// edgeProcess is a speaker in the edge's namespace.
type edgeProcess struct {
	t   *testing.T
	in  io.WriteCloser
	out *json.Decoder
	log *bytes.Buffer // to be read after its end
}

func startEdge(t *testing.T, c *bgp.Config) *edgeProcess {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	e := &edgeProcess{t: t, log: new(bytes.Buffer)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), edgeEnv+"="+string(text))
	cmd.Stderr = e.log
	if e.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.out = json.NewDecoder(out)
	if err := edgeSpace.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the edge's end: %v", err)
		}
		if t.Failed() {
			t.Logf("the edge's log:\n%s", e.log)
		}
	})
	return e
}

// status is a line to the edge, empty or routes, and its answer.
func (e *edgeProcess) status(line string) neighborStatus {
	e.t.Helper()
	if _, err := io.WriteString(e.in, line+"\n"); err != nil {
		e.t.Fatal(err)
	}
	var st []neighborStatus
	if err := e.out.Decode(&st); err != nil || len(st) != 1 {
		e.t.Fatalf("status %v: %v", st, err)
	}
	return st[0]
}

// neighborStatus is what the tests read of the status, as an operator's tools would.
type neighborStatus struct {
	State         string
	LastDown      string `json:"last_down"`
	Announcements []struct{ Prefix netip.Prefix }
	Mismatches    []struct{ Kind string }
}

func (e *edgeProcess) set(routes ...bgp.Route) {
	e.t.Helper()
	text, err := json.Marshal(routes)
	if err != nil {
		e.t.Fatal(err)
	}
	e.status(string(text))
}

// eventually polls.
func eventually(t *testing.T, what string, cond func() (bool, string)) {
	t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ok, got := cond()
		if ok {
			return
		}
		last = got
	}
	t.Fatalf("wanted %s, got:\n%s", what, last)
}

// link makes the namespaces.
func link(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: making network namespaces needs root")
	}
	for _, program := range []string{"bird", FRRPrograms + "/bgpd", "vtysh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP: there is no %s", program)
		}
	}
	ctx := context.Background()
	t.Cleanup(func() {
		for _, n := range []netns.Namespace{routerSpace, edgeSpace} {
			if err := n.Delete(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	for _, n := range []netns.Namespace{routerSpace, edgeSpace} {
		if err := n.Create(ctx); err != nil {
			t.Fatal(err)
		}
	}
	err := edgeSpace.IP(ctx, "link add e0 type veth peer name r0 netns "+string(routerSpace), "link set e0 up",
		"addr add 198.51.100.2/30 dev e0", "addr add 2001:db8:1::2/64 dev e0 nodad")
	if err == nil {
		err = routerSpace.IP(ctx, "link set r0 up", "addr add 198.51.100.1/30 dev r0", "addr add 2001:db8:1::1/64 dev r0 nodad")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// scene is a router and how the edge is configured for it.
type scene struct {
	RouterASN, EdgeASN uint32
	TwoOctets          bool // the router takes no longer AS numbers
	Limit              int  // of prefixes a family, 0: none
}

func (s scene) Internal() bool { return s.RouterASN == s.EdgeASN }

// prefixes: of the first family two, so that a limit of one can be reached.
var scenePrefixes = []netip.Prefix{anycast4, netip.MustParsePrefix("203.0.113.0/24"), anycast6}

func (s scene) config() *bgp.Config {
	c := new(bgp.Config)
	c.SetDefaults()
	c.Prefixes = scenePrefixes
	med, special, preference := uint32(100), uint32(7), uint32(150)
	c.Attributes = bgp.Attributes{
		Communities:         []bgp.Community{64511<<16 | 100, 0xffffff04},
		LargeCommunities:    []bgp.LargeCommunity{{64500, 1, 2}, {65536, 4294967295, 0}},
		ExtendedCommunities: []bgp.ExtendedCommunity{{0, 2, 0xfb, 0xf4, 0, 0, 0, 9}, {1, 3, 198, 51, 100, 1, 0, 5}, {2, 2, 0, 1, 0, 1, 0, 6}},
		MED:                 &med,
	}
	var n bgp.NeighborConfig
	n.SetDefaults()
	n.Address, n.ASN, n.NextHopIPv6 = netip.MustParseAddr("198.51.100.1"), s.RouterASN, netip.MustParseAddr("2001:db8:1::2")
	n.PerPrefix = []bgp.NeighborPrefixConfig{{Prefix: anycast6, Attributes: bgp.Attributes{MED: &special}}}
	if s.Internal() {
		n.Attributes.LocalPreference = &preference
	}
	c.BGP = bgp.SpeakerConfig{ASN: s.EdgeASN, RouterID: netip.MustParseAddr("198.51.100.2"), Neighbors: []bgp.NeighborConfig{n}}
	return c
}

// held is what a router says that it holds for a prefix.
type held struct {
	path                      string
	med, preference           int
	standard, large, extended string // as the daemon writes them
}

// daemon runs in the router's namespace.
type daemon interface {
	start(t *testing.T, s scene) (stop func() (log string))
	held(t *testing.T, p netip.Prefix) (held, string)
	lists() (standard, shut, large, extended string)
	replaces(p netip.Prefix) bool // whether a route that changes is never without its entry in the kernel
}

type birdDaemon struct{ dir string }

var birdScene = template.Must(template.New("").Parse(`
log stderr all;
router id 198.51.100.1;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp edge {
  local as {{.RouterASN}}; neighbor 198.51.100.2 as {{.EdgeASN}};
  passive on; error wait time 1, 2; connect delay time 1; hold time 9;
{{if .TwoOctets}}  enable as4 off;{{end}}
  ipv4 { import all; export none; {{with .Limit}}import limit {{.}} action restart;{{end}} };
  ipv6 { import all; export none; };
}
`))

func run(t *testing.T, name string, args ...string) (stop func() (log string)) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := routerSpace.Start(cmd); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() string {
		if stopped {
			return out.String()
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &out)
		}
		return out.String()
	}
	t.Cleanup(func() { stop() })
	return stop
}

func (b *birdDaemon) start(t *testing.T, s scene) func() string {
	t.Helper()
	var conf bytes.Buffer
	if err := birdScene.Execute(&conf, s); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.dir, "bird.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, "bird", "-f", "-c", file, "-s", filepath.Join(b.dir, "bird.ctl"))
}

var birdAttribute = regexp.MustCompile(`(?m)^\s*BGP\.(\w+): ?(.*)$`)

func (b *birdDaemon) held(_ *testing.T, p netip.Prefix) (h held, text string) {
	out, err := exec.Command("birdc", "-s", filepath.Join(b.dir, "bird.ctl"), "show route all for "+p.String()).CombinedOutput()
	if err != nil {
		return held{}, fmt.Sprintf("%v: %s", err, out)
	}
	for _, m := range birdAttribute.FindAllStringSubmatch(string(out), -1) {
		switch m[1] {
		case "as_path":
			h.path = m[2]
		case "med":
			_, _ = fmt.Sscan(m[2], &h.med)
		case "local_pref":
			_, _ = fmt.Sscan(m[2], &h.preference)
		case "community":
			h.standard = m[2]
		case "large_community":
			h.large = m[2]
		case "ext_community":
			h.extended = m[2]
		}
	}
	return h, string(out)
}

func (b *birdDaemon) lists() (standard, shut, large, extended string) {
	return "(64511,100) (65535,65284)", "(64511,100) (65535,0) (65535,65284)", "(64500, 1, 2) (65536, 4294967295, 0)", "(rt, 64500, 9) (ro, 198.51.100.1, 5) (rt, 65537, 6)"
}

func (b *birdDaemon) replaces(netip.Prefix) bool { return true }

type frrDaemon struct{ dir string }

var frrScene = template.Must(template.New("").Parse(`
debug bgp updates in
router bgp {{.RouterASN}}
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart-disable
 neighbor 198.51.100.2 remote-as {{.EdgeASN}}
 neighbor 198.51.100.2 timers 3 9
 neighbor 198.51.100.2 passive
 address-family ipv4 unicast
  neighbor 198.51.100.2 activate
{{with .Limit}}  neighbor 198.51.100.2 maximum-prefix {{.}}{{end}}
 exit-address-family
 address-family ipv6 unicast
  neighbor 198.51.100.2 activate
 exit-address-family
`))

func (f *frrDaemon) file(name string) string { return filepath.Join(f.dir, name) }

func (f *frrDaemon) start(t *testing.T, s scene) func() string {
	t.Helper()
	var conf bytes.Buffer
	if err := frrScene.Execute(&conf, s); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(f.file("vty"), 0o755); err != nil {
		t.Fatal(err)
	}
	var stops []func() string
	for _, p := range []struct {
		name string
		conf []byte
	}{{"zebra", nil}, {"bgpd", conf.Bytes()}} {
		if err := os.WriteFile(f.file(p.name+".conf"), p.conf, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(f.file("vty/" + p.name + ".vty"))
		stops = append(stops, run(t, FRRPrograms+"/"+p.name, "-u", "root", "-g", "root", "-P", "0", "-z", f.file("zserv.api"), "--vty_socket", f.file("vty"),
			"-i", f.file(p.name+".pid"), "-f", f.file(p.name+".conf"), "--log", "stdout"))
		eventually(t, p.name+" to run", func() (bool, string) {
			_, err := os.Stat(f.file("vty/" + p.name + ".vty"))
			return err == nil, fmt.Sprint(err)
		})
	}
	return func() string {
		defer stops[0]()
		return stops[1]()
	}
}

func (f *frrDaemon) vtysh(command string) ([]byte, error) {
	return exec.Command("vtysh", "--vty_socket", f.file("vty"), "-c", command).CombinedOutput()
}

func (f *frrDaemon) held(_ *testing.T, p netip.Prefix) (held, string) {
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	out, err := f.vtysh(fmt.Sprintf("show bgp %s unicast %s json", family, p))
	if err != nil {
		return held{}, fmt.Sprintf("%v: %s", err, out)
	}
	var reply struct {
		Paths []struct {
			ASPath            struct{ String string }
			Metric, LocPrf    int
			Community         struct{ String string }
			LargeCommunity    struct{ String string }
			ExtendedCommunity struct{ String string }
		}
	}
	if err := json.Unmarshal(out, &reply); err != nil || len(reply.Paths) != 1 {
		return held{}, string(out)
	}
	g := reply.Paths[0]
	h := held{g.ASPath.String, g.Metric, g.LocPrf, g.Community.String, g.LargeCommunity.String, g.ExtendedCommunity.String}
	if h.path == "Local" {
		h.path = ""
	}
	return h, string(out)
}

func (f *frrDaemon) lists() (standard, shut, large, extended string) {
	return "64511:100 no-peer", "64511:100 graceful-shutdown no-peer", "64500:1:2 65536:4294967295:0", "RT:64500:9 SoO:198.51.100.1:5 RT:65537:6"
}

// replaces: zebra removes an IPv6 route and adds it again to change it, whatever has changed.
func (f *frrDaemon) replaces(p netip.Prefix) bool { return p.Addr().Is4() }

// TestRoutersHoldWhatIsAnnounced: path, MED, preference and communities of three kinds as BIRD and FRR show them, to external and internal
// neighbors, in both families; a change of them is no withdrawal to the router's kernel; a restarted router gets all of it again.
func TestRoutersHoldWhatIsAnnounced(t *testing.T) {
	link(t)
	daemons := []struct {
		name string
		make func(dir string) daemon
	}{
		{"BIRD", func(dir string) daemon { return &birdDaemon{dir} }},
		{"FRR", func(dir string) daemon { return &frrDaemon{dir} }},
	}
	for _, d := range daemons {
		for _, s := range []struct {
			name string
			scene
		}{
			{"external", scene{RouterASN: 64511, EdgeASN: 64500}},
			{"internal", scene{RouterASN: 64511, EdgeASN: 64511}},
			{"AS numbers of four octets", scene{RouterASN: 65551, EdgeASN: 65536}},
			{"a router that takes two octets", scene{RouterASN: 64511, EdgeASN: 64500, TwoOctets: true}},
		} {
			if s.TwoOctets && d.name == "FRR" {
				continue // it can't be told to
			}
			t.Run(d.name+" "+s.name, func(t *testing.T) { tryScene(t, d.make(t.TempDir()), s.scene) })
		}
	}
}

func tryScene(t *testing.T, d daemon, s scene) {
	stop := d.start(t, s)
	e := startEdge(t, s.config())
	watch, err := routerSpace.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	standard, shut, large, extended := d.lists()
	for _, step := range []struct {
		prepend uint8
		shut    bool
	}{{0, false}, {2, false}, {2, true}, {0, true}, {0, false}} {
		var routes []bgp.Route
		for _, p := range scenePrefixes {
			routes = append(routes, bgp.Route{Prefix: p, Prepend: step.prepend, GracefulShutdown: step.shut})
		}
		e.set(routes...)
		for _, p := range scenePrefixes {
			want := held{med: 100, standard: standard, large: large, extended: extended}
			if p == anycast6 {
				want.med = 7
			}
			if step.shut {
				want.standard = shut
			}
			if s.Internal() {
				want.preference = 150 - int(step.prepend)
				if step.shut {
					want.preference = 0
				}
			} else {
				want.path = strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", s.EdgeASN), 1+int(step.prepend)))
			}
			eventually(t, fmt.Sprintf("%s: %+v", p, want), func() (bool, string) {
				got, text := d.held(t, p)
				if !s.Internal() {
					want.preference = got.preference // the router's own
				}
				return got == want, fmt.Sprintf("%+v\n%s", got, text)
			})
		}
	}
	for _, p := range scenePrefixes {
		changes := watch.Changes(p)
		if len(changes) == 0 || d.replaces(p) && slices.ContainsFunc(changes, func(c netns.RouteChange) bool { return c.Removed }) {
			t.Errorf("%s in the router's kernel: %+v", p, changes)
		}
	}
	// FRR's log is a second witness of what came over the wire.
	if log := stop(); strings.Contains(log, "withdraw") || !d.replaces(anycast6) && !strings.Contains(log, "rcvd "+anycast6.String()) {
		t.Errorf("the router was told of a withdrawal:\n%s", log)
	}
	eventually(t, "attempts to be refused", func() (bool, string) {
		st := e.status("")
		return strings.Contains(st.LastDown, "it refused the TCP connection"), st.LastDown
	})
	d.start(t, s)
	begun := time.Now()
	eventually(t, "all prefixes again", func() (bool, string) {
		st := e.status("")
		return len(st.Announcements) == len(scenePrefixes), fmt.Sprintf("%+v", st)
	})
	t.Logf("the edge was back %s after the router's start", time.Since(begun).Round(time.Millisecond))
}

// TestARouterThatIsCutOffIsSeen: what the router's kernel does not acknowledge is a mismatch before the hold time is over.
func TestARouterThatIsCutOffIsSeen(t *testing.T) {
	link(t)
	s := scene{RouterASN: 64511, EdgeASN: 64500}
	(&birdDaemon{t.TempDir()}).start(t, s)
	c := s.config()
	c.BGP.Neighbors[0].HoldTime = 30 * time.Second
	e := startEdge(t, c)
	e.set(bgp.Route{Prefix: anycast4}, bgp.Route{Prefix: anycast6})
	eventually(t, "both prefixes announced", func() (bool, string) {
		st := e.status("")
		return len(st.Announcements) == 2, fmt.Sprintf("%+v", st)
	})
	if err := routerSpace.IP(t.Context(), "link set r0 down"); err != nil {
		t.Fatal(err)
	}
	e.set(bgp.Route{Prefix: anycast6})
	eventually(t, "the withdrawal to be missed", func() (bool, string) {
		st := e.status("")
		return len(st.Mismatches) == 1 && st.Mismatches[0].Kind == "not acknowledged" && st.State == "established" && len(st.Announcements) == 1, fmt.Sprintf("%+v", st)
	})
	if err := routerSpace.IP(t.Context(), "link set r0 up", "addr replace 2001:db8:1::1/64 dev r0 nodad"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no mismatch any more", func() (bool, string) {
		st := e.status("")
		return len(st.Mismatches) == 0 && len(st.Announcements) == 1, fmt.Sprintf("%+v", st)
	})
}

// TestARoutersPrefixLimitIsNamed: the session goes, the cause is told, with the limit if the router says it, and when it is raised the session is back.
func TestARoutersPrefixLimitIsNamed(t *testing.T) {
	link(t)
	const cause = "it closed the session: Cease/Maximum Number of Prefixes Reached"
	for _, c := range []struct {
		name, want string
		d          daemon
	}{
		{"BIRD", cause, &birdDaemon{t.TempDir()}},
		{"FRR", cause + " (its limit is 1 for IPv4 unicast)", &frrDaemon{t.TempDir()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scene{RouterASN: 64511, EdgeASN: 64500, Limit: 1}
			stop := c.d.start(t, s)
			e := startEdge(t, s.config())
			e.set(bgp.Route{Prefix: scenePrefixes[0]})
			eventually(t, "the first prefix", func() (bool, string) {
				got, text := c.d.held(t, scenePrefixes[0])
				return got.path != "", text
			})
			e.set(bgp.Route{Prefix: scenePrefixes[0]}, bgp.Route{Prefix: scenePrefixes[1]})
			if c.name == "FRR" { // looks at the limit before it counts the prefix, so at the next change
				eventually(t, "the second prefix", func() (bool, string) {
					got, text := c.d.held(t, scenePrefixes[1])
					return got.path != "", text
				})
				e.set(bgp.Route{Prefix: scenePrefixes[0], Prepend: 1}, bgp.Route{Prefix: scenePrefixes[1]})
			}
			seen := ""
			eventually(t, "the cause", func() (bool, string) {
				if st := e.status(""); strings.Contains(st.LastDown, c.want) {
					return true, ""
				} else if !strings.HasSuffix(seen, st.LastDown+"\n") {
					seen += st.LastDown + "\n"
				}
				return false, seen
			})
			stop()
			s.Limit = 0
			c.d.start(t, s)
			eventually(t, "both prefixes", func() (bool, string) {
				st := e.status("")
				return st.State == "established" && len(st.Announcements) == 2, fmt.Sprintf("%+v", st)
			})
		})
	}
}
