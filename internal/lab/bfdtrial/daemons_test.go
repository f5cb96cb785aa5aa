package bfdtrial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nearcast/internal/lab/process"
	"nearcast/internal/lab/router"
)

// daemon is a router with BFD alone: the sessions are configured, not asked for by BGP.
type daemon interface {
	// start runs it in its namespace.
	start(t *testing.T, g *process.Group)
	// states are its sessions', by the edge's address: up, down, ... in its own words, lower case.
	states() map[netip.Addr]string
	// shut is what an operator does who wants no BFD. BIRD 2.0 says nothing and falls silent; the others say AdminDown.
	shut(t *testing.T) (silently bool)
	// programs are those to kill.
	programs() []string
}

// bird is BIRD 2.
type bird struct{ dir string }

func (b *bird) programs() []string { return []string{"bird"} }

func (b *bird) start(t *testing.T, g *process.Group) {
	t.Helper()
	var s strings.Builder
	timers := fmt.Sprintf("min rx interval %d ms; min tx interval %d ms; multiplier %d;", interval.Milliseconds(), interval.Milliseconds(), multiplier)
	fmt.Fprintf(&s, "log \"%s/bird.log\" all;\nrouter id 10.99.0.1;\nprotocol device { }\nprotocol bfd trial {\n interface \"edge0\" { %s };\n multihop { %s };\n", b.dir, timers, timers)
	for _, p := range paths {
		if p.multihop {
			fmt.Fprintf(&s, " neighbor %s local %s multihop on;\n", p.own, p.router)
		} else {
			fmt.Fprintf(&s, " neighbor %s dev \"edge0\" local %s;\n", p.own.WithZone(""), p.router.WithZone(""))
		}
	}
	s.WriteString("}\n")
	file := filepath.Join(b.dir, "bird.conf")
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	begin(t, g, "bird", b.dir, "bird", "-f", "-c", file, "-s", filepath.Join(b.dir, "bird.ctl"))
}

func (b *bird) birdc(args ...string) string {
	out, _ := exec.Command("birdc", append([]string{"-s", filepath.Join(b.dir, "bird.ctl")}, args...)...).CombinedOutput() // without an answer there is no session either
	return string(out)
}

func (b *bird) states() map[netip.Addr]string {
	states := map[netip.Addr]string{}
	for line := range strings.Lines(b.birdc("show", "bfd", "sessions")) {
		if f := strings.Fields(line); len(f) > 2 {
			if a, err := netip.ParseAddr(f[0]); err == nil {
				states[a] = strings.ToLower(f[2])
			}
		}
	}
	return states
}

func (b *bird) shut(t *testing.T) (silently bool) {
	t.Helper()
	if out := b.birdc("disable", "trial"); !strings.Contains(out, "disabled") {
		t.Fatal(out)
	}
	return true
}

// frr is FRR's zebra and bfdd.
type frr struct{ dir string }

func (f *frr) programs() []string { return []string{"zebra", "bfdd"} }

func (f *frr) peer(p path) string {
	if p.multihop {
		return fmt.Sprintf(" peer %s multihop local-address %s\n", p.own, p.router)
	}
	return fmt.Sprintf(" peer %s local-address %s interface edge0\n", p.own.WithZone(""), p.router.WithZone(""))
}

func (f *frr) start(t *testing.T, g *process.Group) {
	t.Helper()
	var s strings.Builder
	fmt.Fprintf(&s, "log file %s/bfdd.log\nbfd\n", f.dir)
	for _, p := range paths {
		s.WriteString(f.peer(p))
		fmt.Fprintf(&s, "  detect-multiplier %d\n  receive-interval %d\n  transmit-interval %d\n", multiplier, interval.Milliseconds(), interval.Milliseconds())
		if p.multihop {
			s.WriteString("  minimum-ttl 254\n") // the edge sends with 255, and there is one router between
		}
		s.WriteString(" !\n")
	}
	for name, conf := range map[string]string{"zebra": "", "bfdd": s.String()} {
		if err := os.WriteFile(filepath.Join(f.dir, name+".conf"), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vty := filepath.Join(f.dir, "vty")
	if err := errors.Join(os.RemoveAll(vty), os.MkdirAll(vty, 0o755)); err != nil { // what a killed one has left would pass for ready
		t.Fatal(err)
	}
	for _, name := range f.programs() {
		args := []string{filepath.Join(router.FRRPrograms, name), "-u", "root", "-g", "root", "-P", "0", "-z", filepath.Join(f.dir, "zserv.api"),
			"--vty_socket", vty, "-i", filepath.Join(f.dir, name+".pid"), "-f", filepath.Join(f.dir, name+".conf")}
		if name == "bfdd" {
			args = append(args, "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
		}
		begin(t, g, name, f.dir, args...)
		ready := filepath.Join(vty, name+".vty")
		want(t, name+" to be ready", func() bool { _, err := os.Stat(ready); return err == nil }, func() string { return logs(f.dir) })
	}
}

func (f *frr) vtysh(args ...string) []byte {
	out, _ := exec.Command("vtysh", append([]string{"--vty_socket", filepath.Join(f.dir, "vty")}, args...)...).Output()
	return out
}

func (f *frr) states() map[netip.Addr]string {
	var reply []struct {
		Peer   netip.Addr `json:"peer"`
		Status string     `json:"status"`
	}
	states := map[netip.Addr]string{}
	if json.Unmarshal(f.vtysh("-c", "show bfd peers json"), &reply) == nil {
		for _, p := range reply {
			states[p.Peer] = p.Status
		}
	}
	return states
}

func (f *frr) shut(*testing.T) (silently bool) {
	args := []string{"-c", "configure terminal", "-c", "bfd"}
	for _, p := range paths {
		args = append(args, "-c", strings.TrimSpace(f.peer(p)), "-c", "shutdown", "-c", "exit")
	}
	f.vtysh(args...)
	return false
}

// begin starts a daemon in the router's namespace.
func begin(t *testing.T, g *process.Group, name, dir string, args ...string) {
	t.Helper()
	if _, err := g.Start(process.Spec{Name: name, Namespace: hub, Args: args, Log: filepath.Join(dir, name+".out")}); err != nil {
		t.Fatal(err)
	}
}

// kill ends a daemon's programs at once.
func kill(t *testing.T, g *process.Group, d daemon) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range d.programs() {
		if err := g.Stop(ctx, name, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func logs(dir string) string {
	var all strings.Builder
	for _, pattern := range []string{"*.out", "*.log"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range files {
			data, _ := os.ReadFile(f)
			fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(f), data[max(0, len(data)-2000):])
		}
	}
	return all.String()
}
