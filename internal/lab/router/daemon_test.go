package router_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"text/template"
	"time"

	"nearcast/internal/lab/router"
)

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
  local as {{.RouterASN}}; neighbor {{.Edge}} as {{.EdgeASN}};
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
 neighbor {{.Edge}} remote-as {{.EdgeASN}}
 neighbor {{.Edge}} timers 3 9
 neighbor {{.Edge}} passive
 address-family ipv4 unicast
  neighbor {{.Edge}} activate
{{with .Limit}}  neighbor {{$.Edge}} maximum-prefix {{.}}{{end}}
 exit-address-family
 address-family ipv6 unicast
  neighbor {{.Edge}} activate
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
		stops = append(stops, run(t, router.FRRPrograms+"/"+p.name, "-u", "root", "-g", "root", "-P", "0", "-z", f.file("zserv.api"), "--vty_socket", f.file("vty"),
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
