package router

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
)

// FRRPrograms is where Debian keeps FRR's daemons.
const FRRPrograms = "/usr/lib/frr"

// frr talks to FRR's zebra, bgpd and, with BFD, bfdd through vtysh.
type frr struct{ cfg Config }

func (f *frr) file(name string) string { return filepath.Join(f.cfg.Dir, name) }

// Prepare gives bgpd its configuration as a file of its own: through vtysh it would hold every session back for four seconds more. A bgpd
// that finds no zebra when it starts tries again only after its sessions are up, knows no interface until then, and so takes
// every IPv6 route with a link-local next hop for an error.
func (f *frr) Prepare() ([]Program, error) {
	conf, err := render(FRR, f.cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.file("vty"), 0o755); err != nil {
		return nil, err
	}
	daemons := []frrDaemon{{name: "zebra", conf: []byte("hostname " + f.cfg.Name + "\n"), ready: f.file("vty/zebra.vty")}}
	if f.cfg.bfd() > 0 {
		daemons = append(daemons, f.bfdd())
	}
	daemons = append(daemons, frrDaemon{name: "bgpd", conf: conf})
	var programs []Program
	for _, p := range daemons {
		if err := os.WriteFile(f.file(p.name+".conf"), p.conf, 0o644); err != nil {
			return nil, err
		}
		programs = append(programs, Program{
			Name: p.name,
			Args: append([]string{filepath.Join(FRRPrograms, p.name), "-u", "root", "-g", "root", "-P", "0",
				"-z", f.file("zserv.api"), "--vty_socket", f.file("vty"), "-i", f.file(p.name + ".pid"), "-f", f.file(p.name + ".conf")}, p.args...),
			Ready: p.ready,
		})
	}
	return programs, nil
}

// frrDaemon is one of FRR's programs.
type frrDaemon struct {
	name  string
	conf  []byte
	args  []string // besides those that all have
	ready string
}

// bfdd has the timers in a profile, which bgpd's sessions name.
func (f *frr) bfdd() frrDaemon {
	interval := f.cfg.bfd().Milliseconds()
	conf := fmt.Sprintf("hostname %s\nlog file %s informational\nlog timestamp precision 6\nbfd\n profile edge\n  detect-multiplier %d\n  receive-interval %d\n  transmit-interval %d\n",
		f.cfg.Name, f.cfg.Log, BFDMultiplier, interval, interval)
	return frrDaemon{name: "bfdd", conf: []byte(conf), args: []string{"--bfdctl", f.file("bfdd.sock")}, ready: f.file("vty/bfdd.vty")}
}

func (f *frr) Configure(ctx context.Context) error {
	return poll(ctx, func() error { _, err := f.vtysh(ctx, "-c", "show bgp summary json"); return err })
}

func (f *frr) Route(ctx context.Context, prefix netip.Prefix) (Route, error) {
	family := "ipv4"
	if prefix.Addr().Is6() {
		family = "ipv6"
	}
	out, err := f.vtysh(ctx, "-c", fmt.Sprintf("show bgp %s unicast %s json", family, prefix))
	if err != nil {
		return Route{}, err
	}
	return parseFRRRoute(out, prefix)
}

func (f *frr) Session(ctx context.Context, edge netip.Addr) (Session, error) {
	out, err := f.vtysh(ctx, "-c", fmt.Sprintf("show bgp neighbors %s json", edge))
	if err != nil {
		return Session{}, err
	}
	return parseFRRSession(out, edge)
}

func (f *frr) ClearSession(ctx context.Context, edge netip.Addr) error {
	_, err := f.vtysh(ctx, "-c", fmt.Sprintf("clear bgp %s", edge))
	return err
}

func (f *frr) Console() string { return "vtysh --vty_socket " + f.file("vty") }

func (f *frr) vtysh(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "vtysh", append([]string{"--vty_socket", f.file("vty")}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		return nil, fmt.Errorf("FRR of %s: vtysh %s: %w: %s", f.cfg.Name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return out, nil
}

// frrRoute is what we read of the reply to "show bgp FAMILY unicast PREFIX json". Without such a prefix the reply is {}.
type frrRoute struct {
	Prefix string `json:"prefix"`
	Paths  []struct {
		ASPath struct {
			String string `json:"string"`
		} `json:"aspath"`
		BestPath struct {
			Overall bool `json:"overall"`
		} `json:"bestpath"`
		NextHops []struct {
			IP    string `json:"ip"`
			Scope string `json:"scope"`
		} `json:"nexthops"`
	} `json:"paths"`
}

func parseFRRRoute(data []byte, prefix netip.Prefix) (Route, error) {
	var reply frrRoute
	if err := json.Unmarshal(data, &reply); err != nil {
		return Route{}, fmt.Errorf("FRR's route for %s: %w", prefix, err)
	}
	if reply.Prefix != prefix.String() {
		return Route{}, nil
	}
	var route Route
	for _, p := range reply.Paths {
		path := Path{Best: p.BestPath.Overall}
		if p.ASPath.String != "Local" {
			asPath, err := parseASPath(p.ASPath.String)
			if err != nil {
				return Route{}, fmt.Errorf("FRR's AS path for %s: %w", prefix, err)
			}
			path.ASPath = asPath
		}
		for _, hop := range p.NextHops {
			if hop.Scope != "global" && path.NextHop.IsValid() {
				continue
			}
			addr, err := netip.ParseAddr(hop.IP)
			if err != nil {
				return Route{}, fmt.Errorf("FRR's next hop for %s: %w", prefix, err)
			}
			path.NextHop = addr
		}
		route.Paths = append(route.Paths, path)
	}
	return route, nil
}

func parseFRRSession(data []byte, neighbor netip.Addr) (Session, error) {
	var reply map[string]json.RawMessage
	if err := json.Unmarshal(data, &reply); err != nil {
		return Session{}, fmt.Errorf("FRR's session with %s: %w", neighbor, err)
	}
	var session struct {
		State string `json:"bgpState"`
		Count int    `json:"connectionsEstablished"`
	}
	raw, ok := reply[neighbor.String()]
	if !ok {
		return Session{}, fmt.Errorf("FRR knows no neighbor %s", neighbor)
	}
	if err := json.Unmarshal(raw, &session); err != nil {
		return Session{}, fmt.Errorf("FRR's session with %s: %w", neighbor, err)
	}
	return Session{Established: session.State == "Established", State: session.State, Number: session.Count}, nil
}
