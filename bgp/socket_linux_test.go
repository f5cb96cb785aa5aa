package bgp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"
)

// guarded listens on a loopback address with a password and a TTL as a router would; "" and 0 for none.
func guarded(t *testing.T, addr string, client netip.Addr, password secret, ttl int) net.Listener {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		cerr := rc.Control(func(fd uintptr) {
			err = setOptions(int(fd), socketOptions{v6: client.Is6(), ttl: ttl, password: password, peer: client})
		})
		return errors.Join(cerr, err)
	}}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIP: this kernel lacks what the test needs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func passwordFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bgp.key")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestGuardedSessions: password and TTL security, over both families.
func TestGuardedSessions(t *testing.T) {
	for _, at := range []string{"127.0.0.2:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			client := netip.MustParseAddr("127.0.0.1")
			if strings.HasPrefix(at, "[") {
				client = netip.IPv6Loopback()
			}
			r := serveRouter(t, guarded(t, at, client, newSecret("sesame"), 255), 64511)
			c := testConfig(r.addrPort())
			n := &c.BGP.Neighbors[0]
			n.LocalAddress, n.PasswordFile, n.TTLSecurity = client, passwordFile(t, "sesame\n"), true
			e := startEdge(t, c)
			e.setRoutes(testPrefix4, testPrefix6)
			s := r.session(0)
			r.want("both prefixes", func() bool { return len(s.routes) == 2 })
			if e.log.has("sesame") {
				t.Error("the password is in the log")
			}
		})
	}
}

// TestWrongPasswordIsExplained, and so is a missing one on either side and a lacking TTL, which all look the same: no answer.
func TestWrongPasswordIsExplained(t *testing.T) {
	client := netip.MustParseAddr("127.0.0.1")
	cases := []struct {
		name         string
		theirs, ours string
		ttlSecurity  bool
		want         string
	}{
		{"wrong here", "sesame", "poppy", false, "with a password set this is what a wrong or missing password on either side looks like (TCP MD5)"},
		{"missing here", "sesame", "", false, "with no password set here, look whether the router asks for one"},
		{"missing there", "", "sesame", false, "with a password set this is what"},
		{"TTL too low", "", "", true, "also check that the router is reachable"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := guarded(t, "127.0.0.2:0", client, newSecret(c.theirs), 0)
			defer l.Close()
			conf := testConfig(l.Addr().(*net.TCPAddr).AddrPort())
			n := &conf.BGP.Neighbors[0]
			n.LocalAddress, n.TTLSecurity = client, c.ttlSecurity
			_, err := dial(t.Context(), n, options(n, conf.BGP.ASN, newSecret(c.ours)))
			if err == nil {
				t.Fatal("connected")
			}
			if c.ours != "" {
				n.PasswordFile = "bgp.key"
			}
			d := dialFailure(n, err)
			if d.failure != failTimeout || !strings.HasPrefix(d.text, "no answer to the TCP connection within 1.5s; ") || !strings.Contains(d.text, c.want) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestPeersOfTheInsideAreOurs: another process that finds the embedded speaker's way out can't speak for a router, nor take its place.
func TestPeersOfTheInsideAreOurs(t *testing.T) {
	log := &logBuffer{}
	table := &fakeTable{ports: make(chan uint16, 1)}
	a := newArm(table, netip.MustParseAddr("127.0.1.1"), &NeighborConfig{Address: netip.MustParseAddr("198.51.100.1"), Port: 179},
		slog.New(slog.NewTextHandler(log, nil)))
	done := make(chan struct{})
	ctx := t.Context()
	go func() { defer close(done); a.run(ctx) }()
	port := <-table.ports
	to := fmt.Sprintf("127.0.1.1:%d", port)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIP: bash is needed for a connection from another process")
	}
	stranger := exec.CommandContext(ctx, bash, "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.1.1/%d; read -r -t 20 <&3", port))
	if err := stranger.Run(); err == nil {
		t.Error("the stranger read something")
	}
	if !log.has("refused a connection of another process") {
		t.Errorf("no line about the stranger; log: %s", log)
	}
	own, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	taken, err := a.take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if taken.RemoteAddr().String() != own.LocalAddr().String() {
		t.Errorf("took %s, want our own %s", taken.RemoteAddr(), own.LocalAddr())
	}
	taken.Close()
	a.release()
	if again := <-table.ports; again == port {
		t.Logf("the port stayed %d by chance", port)
	}
}

// fakeTable tells the ports that a peer should dial.
type fakeTable struct{ ports chan uint16 }

func (f *fakeTable) addPeer(_ netip.Addr, port uint16, _ *NeighborConfig) error {
	f.ports <- port
	return nil
}

func (f *fakeTable) deletePeer(netip.Addr) error { return nil }

func TestPasswordFile(t *testing.T) {
	cases := []struct{ name, content, want, fault string }{
		{"one line", "sesame\n", "sesame", ""},
		{"no newline", "sesame", "sesame", ""},
		{"DOS", "sesame\r\n", "sesame", ""},
		{"spaces belong to it", " a b \n", " a b ", ""},
		{"as long as TCP MD5 takes", strings.Repeat("x", 80), strings.Repeat("x", 80), ""},
		{"too long", strings.Repeat("x", 81), "", "has a password of 81 bytes; TCP MD5 takes at most 80"},
		{"empty", "\n", "", "is empty"},
		{"two lines", "a\nb\n", "", "has more than one line"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := readPassword(passwordFile(t, c.content))
			if got.reveal() != c.want || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%q, %v", got.reveal(), err)
			}
		})
	}
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	c.BGP.Neighbors[0].PasswordFile = "/nonexistent/bgp.key"
	_, err := NewSpeaker(c, slog.Default(), metrics.NewSet())
	if err == nil || !strings.Contains(err.Error(), "neighbor 198.51.100.1: password_file can't be read") {
		t.Errorf("a missing file says %v", err)
	}
}

// TestSecretsStaySecret in whatever way they are printed.
func TestSecretsStaySecret(t *testing.T) {
	log := &logBuffer{}
	o := socketOptions{password: newSecret("sesame")}
	slog.New(slog.NewTextHandler(log, nil)).Info("x", "options", o, "password", o.password)
	slog.New(slog.NewJSONHandler(log, nil)).Info("x", "password", o.password)
	if s := fmt.Sprintf("%v %+v %#v %s %q", o, o, o, o.password, o.password) + log.String(); strings.Contains(s, "sesame") {
		t.Errorf("the password shows in %s", s)
	}
}

// TestComplaintsAreRare: the first at once, then one a minute for each kind.
func TestComplaintsAreRare(t *testing.T) {
	log := &logBuffer{}
	c := complaints{log: slog.New(slog.NewTextHandler(log, nil))}
	begin := time.Unix(1_700_000_000, 0)
	for s := range 121 {
		c.warn(begin.Add(time.Duration(s)*time.Second), "198.51.100.1", &down{failure: failTimeout, text: "no answer"})
		if s%50 == 0 {
			c.warn(begin.Add(time.Duration(s)*time.Second), "198.51.100.1", &down{failure: failRefused, text: "refused"})
		}
	}
	if n := strings.Count(log.String(), "no answer"); n != 3 {
		t.Errorf("%d lines in two minutes, want 3", n)
	}
	if n := strings.Count(log.String(), "198.51.100.1: refused"); n != 2 {
		t.Errorf("%d lines of the other kind, want 2", n)
	}
	if !log.has("times_since_last_line=60") {
		t.Error("no line says how often it was")
	}
}

// TestMetricsHaveHelp: every name that is registered, and none besides.
func TestMetricsHaveHelp(t *testing.T) {
	set := metrics.NewSet()
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	withView(c, ViewBest)
	c.StateFile = filepath.Join(t.TempDir(), "state.json")
	s, err := NewSpeaker(c, slog.Default(), set)
	if err != nil {
		t.Fatal(err)
	}
	NewAnnouncer(c, s, func() Inputs { return Inputs{} }, slog.Default(), set)
	seen := map[string]bool{}
	for _, m := range set.ListMetricNames() {
		name, _, _ := strings.Cut(m, "{")
		seen[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range MetricHelp {
		if !seen[name] {
			t.Errorf("%s is not registered", name)
		}
	}
}
