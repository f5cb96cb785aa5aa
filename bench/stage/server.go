package stage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"nearcast/bench/peers"
	"nearcast/bench/process"
	"nearcast/bench/room"
	"nearcast/bench/table"
)

// server is a running table.Server.
type server struct {
	// immutable
	cores     room.Cores
	roots     *x509.CertPool
	row       table.Row
	site      peers.Site
	address   string
	log       string
	origin    *room.Program
	program   *room.Program // nil in tests
	processes process.Set

	asked int64 // what the origin had been asked at the last look
}

// Address is where the row's protocol is spoken.
func (s *server) Address() string { return s.address }

// Processes are the server's, without its origin's.
func (s *server) Processes() process.Set { return s.processes }

// Usage reads what was used so far.
func (s *server) Usage() (table.Usage, error) {
	used, err := s.processes.Read()
	if err != nil {
		return table.Usage{}, err
	}
	u := table.Usage{CPU: used.CPU(), At: time.Now()}
	cores, err := busyTimes()
	if err != nil {
		return table.Usage{}, err
	}
	u.ServerCore, u.LoadCore = cores[s.cores.Server], cores[s.cores.Load]
	return u, nil
}

// Check holds the origin's count against what the row is about.
func (s *server) Check(ctx context.Context, requests int64) error {
	n, err := s.count(ctx)
	if err != nil {
		return err
	}
	asked := n - s.asked
	s.asked = n
	if s.site.Work == peers.Proxied {
		if asked < requests {
			return fmt.Errorf("%d requests were answered, but the origin was asked only %d times: something was cached", requests, asked)
		}
		return nil
	}
	if asked != 0 {
		return fmt.Errorf("the origin was asked %d times: not everything was a hit", asked)
	}
	return nil
}

// Stop ends the server and its origin.
func (s *server) Stop(ctx context.Context) error {
	return errors.Join(s.program.Stop(ctx), s.origin.Stop(ctx))
}
