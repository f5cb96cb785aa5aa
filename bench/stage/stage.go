// Package stage brings up servers in the measuring room, each with an origin of its own, and tries whether they do what they are measured
// for: the right bytes over the right protocol, out of the cache or from the origin.
package stage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
	"nearcast/bench/process"
	"nearcast/bench/room"
	"nearcast/bench/table"
	"nearcast/internal/pki"
)

const (
	// Host is what the servers are asked for, and the name in their certificate.
	Host = "bench.test"
	// kernelMTU is the MTU of loopback if nobody changes it.
	kernelMTU = 65536
	// startTime bounds how long a server may take until it answers.
	startTime = 20 * time.Second
)

// Stage is a table.Stage.
type Stage struct {
	// immutable
	place *room.Place
	site  peers.Site // what is the same for all
	roots *x509.CertPool

	mtu int
}

// New makes the certificate and the files that all servers share.
func New(place *room.Place) (*Stage, error) {
	dir, err := place.NewDir("shared")
	if err != nil {
		return nil, err
	}
	s := &Stage{place: place, site: peers.Site{Files: filepath.Join(dir, "www"), CertFile: filepath.Join(dir, "cert.pem"),
		KeyFile: filepath.Join(dir, "key.pem"), BothFile: filepath.Join(dir, "both.pem")}}
	if err := os.Mkdir(s.site.Files, 0o755); err != nil {
		return nil, err
	}
	for _, size := range origin.Sizes {
		if err := os.WriteFile(s.site.Files+origin.Path(size), origin.Body(size), 0o644); err != nil {
			return nil, err
		}
	}
	return s, s.certify()
}

func (s *Stage) certify() error {
	ca, err := pki.NewAuthority(time.Now(), "nearcast bench", 24*time.Hour)
	if err != nil {
		return err
	}
	s.roots = ca.Pool()
	if err := ca.Issue(Host, []string{Host}, nil, s.site.CertFile, s.site.KeyFile); err != nil {
		return err
	}
	cert, err := os.ReadFile(s.site.CertFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(s.site.KeyFile)
	if err != nil {
		return err
	}
	return os.WriteFile(s.site.BothFile, append(cert, key...), 0o600)
}

// Roots trusts the servers' certificate.
func (s *Stage) Roots() *x509.CertPool { return s.roots }

// Start starts a server and its origin, and returns when it has been seen to do the row's work.
func (s *Stage) Start(ctx context.Context, p peers.Peer, row table.Row) (table.Server, error) {
	if work := row.WorkOf(p); !p.Does(work, row.Protocol) {
		return nil, fmt.Errorf("%s does not do %s over %s", p.Title, work, row.Protocol)
	}
	if err := s.setMTU(ctx, row.MTU); err != nil {
		return nil, err
	}
	srv, err := s.launch(p, row)
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := srv.prove(ready); err != nil {
		err = fmt.Errorf("%w%s", err, tail(srv.log))
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTime)
		defer cancel()
		return nil, errors.Join(err, srv.Stop(stop))
	}
	return srv, nil
}

func (s *Stage) setMTU(ctx context.Context, mtu int) error {
	if mtu == 0 {
		mtu = kernelMTU
	}
	if mtu == s.mtu {
		return nil
	}
	if err := s.place.SetMTU(ctx, mtu); err != nil {
		return err
	}
	s.mtu = mtu
	return nil
}

// launch starts the processes.
func (s *Stage) launch(p peers.Peer, row table.Row) (*server, error) {
	program, err := p.Find()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := s.place.NewDir(p.Name)
	if err != nil {
		return nil, err
	}
	site := s.site
	site.Dir, site.Work = dir, row.WorkOf(p)
	var port int
	site.Plain, site.TLS, port = p.Ports()
	site.Origin = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	if err := p.Write(site); err != nil {
		return nil, err
	}
	srv := &server{cores: s.place.Cores, roots: s.roots, row: row, site: site, address: address(site, row.Protocol), log: filepath.Join(dir, "log")}
	srv.origin, err = s.place.Start(room.Spec{Name: p.Name + "-origin", Core: s.place.Cores.Load, Log: filepath.Join(dir, "origin.log"),
		Args: []string{self, "bench-origin", site.Origin.String()}})
	if err != nil {
		return nil, err
	}
	args, env := p.Command(program, site)
	srv.program, err = s.place.Start(room.Spec{Name: p.Name, Core: s.place.Cores.Server, Args: args, Env: env, Log: srv.log})
	if err != nil {
		return nil, errors.Join(err, srv.origin.Stop(context.Background()))
	}
	srv.processes = process.Set{PIDs: []int{srv.program.PID}, Scope: process.Tree}
	return srv, nil
}

// address is where a protocol is spoken.
func address(site peers.Site, p peers.Protocol) string {
	port := site.TLS
	if p == peers.HTTP1 {
		port = site.Plain
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// tail is the end of a log, for an error's text.
func tail(file string) string {
	const most = 1000
	data, err := os.ReadFile(file)
	if err != nil || len(data) == 0 {
		return ""
	}
	return "; its log ends with: " + string(data[max(0, len(data)-most):])
}
