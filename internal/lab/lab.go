// Package lab is a miniature internet in network namespaces: three regions with a router that runs a real BGP daemon, an edge that
// runs the real binary, an origin and a client, joined by links with the delays of real distances. Linux, root only.
//
// One process brings the lab up and has it: the links live in that process, and a lock keeps a second lab away. Other
// processes may attach to it. Down takes it apart from anywhere, even after the process that had it was killed.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"nearcast/internal/lab/process"
	"nearcast/internal/lab/router"
	"nearcast/internal/lab/wan"
)

const (
	stateDir   = "/run/nearcast-lab"
	stateFile  = stateDir + "/state.json"
	programDir = stateDir + "/programs"
)

// Options say how the lab is built. The zero value is the usual one.
type Options struct {
	Binary   string        `json:"binary"`    // the nearcast program, default the running one
	NoEdges  bool          `json:"no_edges"`  // routers, clients and links only; neither edges nor origins
	HoldTime time.Duration `json:"hold_time"` // of the sessions between edge and router, default 9s, at least 3s
	Export   router.Export `json:"export"`    // what routers tell edges, default nothing
	LogDir   string        `json:"log_dir"`   // for the programs' logs, which then outlive the lab; default within its state

	Wait time.Duration `json:"-"` // for another process's lab to end, default none
	Log  *slog.Logger  `json:"-"` // default none
}

func (o *Options) setDefaults() error {
	if o.HoldTime == 0 {
		o.HoldTime = 9 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LogDir == "" {
		o.LogDir = filepath.Join(stateDir, "logs")
	}
	if o.Binary == "" && !o.NoEdges {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Binary = self
	}
	return nil
}

// Lab is a running lab.
type Lab struct {
	// immutable
	options  Options
	log      *slog.Logger
	routers  map[string]router.Router
	programs *process.Group

	// owned by the process that brought it up; nil when attached
	lock  *os.File
	links map[string]*wan.Link // by the regions' names, see linkName
}

// Missing says what the machine lacks for a lab, in words for the operator. Nothing is missing when it is empty.
func Missing() []string {
	var missing []string
	if os.Getuid() != 0 {
		missing = append(missing, "root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing = append(missing, "/dev/net/tun")
	}
	for _, p := range []struct{ program, debianPackage string }{
		{"ip", "iproute2"}, {"ss", "iproute2"}, {"nft", "nftables"}, {"bird", "bird2"}, {"vtysh", "frr"}, {router.FRRPrograms + "/zebra", "frr"}, {router.FRRPrograms + "/bfdd", "frr"}, {router.FRRPrograms + "/bgpd", "frr"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", p.program, p.debianPackage))
		}
	}
	if err := inGroup("root", "frrvty"); err != nil {
		missing = append(missing, fmt.Sprintf("root in FRR's group (%v; run `make setup`)", err))
	}
	return missing
}

// inGroup fails when the user is not in the group, which FRR's daemons insist on.
func inGroup(name, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	ids, err := u.GroupIds()
	if err != nil || slices.Contains(ids, g.Gid) {
		return err
	}
	return fmt.Errorf("%s is not in the group %s", name, group)
}

func newLab(o Options) (*Lab, error) {
	l := &Lab{options: o, log: o.Log, routers: map[string]router.Router{}, programs: process.NewGroup(programDir)}
	for _, r := range regions {
		handle, err := router.New(r.Daemon, routerConfig(r, regionDir(r.Name), o))
		if err != nil {
			return nil, err
		}
		l.routers[r.Name] = handle
	}
	return l, nil
}

// Attach returns a handle on the lab that another process has. Everything works on it but the links.
func Attach(log *slog.Logger) (*Lab, error) {
	data, err := os.ReadFile(stateFile)
	if err != nil {
		return nil, errors.New("no lab is up: run `nearcast lab up`")
	}
	o := Options{Log: log}
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("the lab's state: %w", err)
	}
	lock, err := tryLock()
	if err == nil {
		lock.Close()
		return nil, errors.New("the process that had the lab is gone: run `nearcast lab down` and bring it up again")
	}
	var held *HeldError
	if !errors.As(err, &held) {
		return nil, err
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	return newLab(o)
}

// saveState makes the lab known to Attach.
func (l *Lab) saveState() error {
	data, err := json.Marshal(l.options)
	if err != nil {
		return err
	}
	if err := os.WriteFile(stateFile+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(stateFile+".new", stateFile)
}

// Close takes the lab down when this process has it, and does nothing to another's. Closing twice is harmless.
func (l *Lab) Close(ctx context.Context) error {
	if l.lock == nil {
		return nil
	}
	err := l.programs.StopAll(ctx, programGrace)
	for _, link := range l.links {
		err = errors.Join(err, link.Close())
	}
	err = errors.Join(err, sweep(ctx), l.lock.Close())
	l.lock, l.links = nil, nil
	return err
}

// Route returns what the region's router holds for a prefix.
func (l *Lab) Route(ctx context.Context, region string, prefix netip.Prefix) (router.Route, error) {
	r, ok := l.routers[region]
	if !ok {
		return router.Route{}, fmt.Errorf("the lab has no region %q", region)
	}
	return r.Route(ctx, prefix)
}

// Session returns the state of the session between an edge and its region's router, as the router sees it.
func (l *Lab) Session(ctx context.Context, edge string) (router.Session, error) {
	s, err := site(edge)
	if err != nil {
		return router.Session{}, err
	}
	_, _, own4, _ := s.addresses()
	return l.routers[s.Region.Name].Session(ctx, own4)
}

// ClearSession resets that session at the router.
func (l *Lab) ClearSession(ctx context.Context, edge string) error {
	s, err := site(edge)
	if err != nil {
		return err
	}
	_, _, own4, _ := s.addresses()
	return l.routers[s.Region.Name].ClearSession(ctx, own4)
}

// Link returns the link between two regions, whose delay and loss may be changed.
func (l *Lab) Link(a, b string) (*wan.Link, error) {
	if l.links == nil {
		return nil, errors.New("the links belong to the process that brought the lab up")
	}
	if link, ok := l.links[linkName(a, b)]; ok {
		return link, nil
	}
	return nil, fmt.Errorf("the lab has no link between %q and %q", a, b)
}

func linkName(a, b string) string { return min(a, b) + "-" + max(a, b) }

// regionDir holds the files of a region's router, edgeDir those of an edge.
func regionDir(region string) string { return filepath.Join(stateDir, region) }
func edgeDir(edge string) string     { return filepath.Join(stateDir, edge) }

// LogFile is where a program of the lab writes, such as nyc-1-edge or fra-bgpd.
func (l *Lab) LogFile(name string) string { return filepath.Join(l.options.LogDir, name+".log") }
