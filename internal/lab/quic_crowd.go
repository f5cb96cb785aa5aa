package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/pki"
)

// startTime bounds the start of all clients: several browsers at once take seconds on a busy machine.
const startTime = 45 * time.Second

// crowd is clients that ask for the same at the same time.
type crowd struct{ members []*member }

// member is one of them. err says why there are no records of it.
type member struct {
	client  quicload.Client
	run     quicload.Run
	records []quicload.Record
	err     error
}

// gather has the clients begin in a region, and returns when each has had its first answer or failed.
func (s *stage) gather(ctx context.Context, name string, clients []quicload.Client, service netip.Addr, rate float64) *crowd {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not under way after %v", startTime))
	defer cancel()
	c := &crowd{}
	var wg sync.WaitGroup
	for _, client := range clients {
		m := &member{client: client}
		c.members = append(c.members, m)
		wg.Go(func() {
			var target quicload.Target
			if target, m.err = s.target(name, client.Name(), service, rate); m.err == nil {
				m.run, m.err = client.Start(ctx, target)
			}
		})
	}
	wg.Wait()
	return c
}

// stop ends them all. It may be called again.
func (c *crowd) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range c.members {
		if m.run == nil {
			continue
		}
		wg.Go(func() {
			records, err := m.run.Stop(ctx)
			m.run, m.records, m.err = nil, records, errors.Join(m.err, err)
		})
	}
	wg.Wait()
}

// target is the service as a client in the region asks for it.
func (s *stage) target(name, client string, service netip.Addr, rate float64) (quicload.Target, error) {
	var keys []string
	for _, e := range allSites() {
		hash, err := pki.KeyHash(filepath.Join(edgeDir(e.Name()), "edge.pem"))
		if err != nil {
			return quicload.Target{}, err
		}
		keys = append(keys, hash)
	}
	dir := filepath.Join(stateDir, "clients", client)
	return quicload.Target{
		Namespace: Namespace(Client, name), Host: Host, Address: service, Port: 443, Authority: AuthorityFile, KeyHashes: keys,
		Dir: dir, Log: s.lab.LogFile("client-" + client), Rate: rate,
	}, os.MkdirAll(dir, 0o755)
}

// chooseClients are the clients of those names, or all. One that the machine lacks is an error.
func chooseClients(names []string) ([]quicload.Client, error) {
	clients := quicload.Clients()
	if len(names) > 0 {
		clients = nil
	}
	for _, name := range names {
		client, err := quicload.ByName(name)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	var errs []error
	for _, c := range clients {
		if err := c.Available(); err != nil {
			errs = append(errs, fmt.Errorf("needs %w", err))
		}
	}
	return clients, errors.Join(errs...)
}
