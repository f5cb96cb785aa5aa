package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"nearcast/internal/pki"
)

const (
	readyPatience = 20 * time.Second
	stopPatience  = 10 * time.Second // above the edges' settle and drain together
)

// cluster is everything that runs: the router in this process, edges and origins as its children.
type cluster struct {
	// immutable
	dir       string
	ports     ports
	screen    *screen
	authority *pki.Authority
	rib       *rib
	router    *router
	forwards  []*forwarder
	launcher  *launcher

	mu sync.Mutex
	// guarded by mu; nil: never started
	edges, origins [len(places)]*process
}

// newCluster builds all that can fail. After an error nothing is left.
func newCluster(o Options, s *screen) (c *cluster, err error) {
	c = &cluster{ports: portsFrom(o.BasePort), screen: s, rib: newRIB()}
	if c.authority, err = newAuthority(time.Now()); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "nearcast-demo-"); err != nil {
		return nil, err
	}
	if err = errors.Join(c.writeFiles(), c.listen()); err != nil {
		c.discard()
		return nil, err
	}
	// The receive buffer that quic-go asks for is more than most systems allow, and the demonstration needs none of it.
	env := append(os.Environ(), "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true")
	c.launcher = &launcher{executable: o.Executable, env: env, jobs: make(chan func())}
	return c, nil
}

// discard closes the listeners and removes the files.
func (c *cluster) discard() {
	if c.router != nil {
		c.router.listener.Close()
	}
	for _, f := range c.forwards {
		f.tcp.Close()
		if f.udp != nil {
			f.udp.Close()
		}
	}
	os.RemoveAll(c.dir)
}

func (c *cluster) writeFiles() error {
	if err := c.authority.WriteFile(filepath.Join(c.dir, "ca.pem")); err != nil {
		return err
	}
	for _, p := range places {
		conf, err := edgeConfig(c.dir, p, c.ports)
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(filepath.Join(c.dir, p.edgeName()+".yaml"), conf, 0o644), issue(c.authority, c.dir, p)); err != nil {
			return err
		}
	}
	return nil
}

// listen opens the router's sockets and sees whether the children will find theirs free.
func (c *cluster) listen() error {
	l, err := listenTCP(at(routerAddr, c.ports.bgp))
	if err != nil {
		return err
	}
	c.router = &router{listener: l, rib: c.rib}
	for i, p := range places {
		for _, port := range []uint16{c.ports.https, c.ports.http} {
			f := &forwarder{from: i, rib: c.rib, target: func(edge int) netip.AddrPort { return at(places[edge].edgeAddr(), port) }}
			if f.tcp, err = listenTCP(at(p.anycastAddr(), port)); err != nil {
				return err
			}
			c.forwards = append(c.forwards, f)
			if port != c.ports.https {
				continue
			}
			if f.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at(p.anycastAddr(), port))); err != nil {
				return taken(err, at(p.anycastAddr(), port))
			}
		}
		for _, a := range []netip.AddrPort{at(p.edgeAddr(), c.ports.https), at(p.edgeAddr(), c.ports.http), at(p.edgeAddr(), c.ports.admin), at(p.originAddr(), c.ports.origin)} {
			l, err := listenTCP(a)
			if err != nil {
				return err
			}
			l.Close()
		}
	}
	return nil
}

func listenTCP(a netip.AddrPort) (net.Listener, error) {
	l, err := net.Listen("tcp", a.String())
	if err != nil {
		return nil, taken(err, a)
	}
	return l, nil
}

// taken says what to do about an address that can't be had.
func taken(err error, a netip.AddrPort) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%v is in use, perhaps by another demonstration; end that, or choose other ports with --base-port", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%v can't be used: this system does not have the whole of 127.0.0.0/8 on its loopback interface, as Linux has", a)
	}
	return err
}

// run runs the router and the children while f does, and takes everything down.
func (c *cluster) run(ctx context.Context, f func(context.Context) error) error {
	defer os.RemoveAll(c.dir)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the router outlives ctx: the children are stopped first
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	telling, silence := context.WithCancel(base) // the end is told in one line
	defer silence()
	c.router.say = func(format string, args ...any) {
		if telling.Err() == nil {
			c.screen.say(format, args...)
		}
	}
	parts.Go(func() { c.router.run(base) })
	for _, fw := range c.forwards {
		parts.Go(func() { fw.run(base) })
	}
	parts.Go(func() { c.launcher.run(base) })
	parts.Go(func() { c.tellRoutes(telling) })
	defer c.end()
	defer silence()
	return f(ctx)
}

// ready starts everything and waits until every edge has announced its routes.
func (c *cluster) ready(ctx context.Context) error {
	for i := range places {
		if err := errors.Join(c.startOrigin(ctx, i), c.startEdge(ctx, i)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	early, stop := c.watchEnds(ctx)
	defer stop()
	_, err := c.rib.await(early, func(t *table) bool {
		for _, r := range t.routes {
			if !r.ipv4 || !r.ipv6 {
				return false
			}
		}
		return true
	})
	if err == nil {
		return nil
	}
	var ended endedError
	switch cause := context.Cause(early); {
	case errors.As(cause, &ended):
		return fmt.Errorf("%w\n%s", cause, tail(ended.process.program.log, 8))
	case cause != context.DeadlineExceeded:
		return cause
	}
	for i, p := range places {
		if !c.rib.load().routes[i].ipv4 {
			return fmt.Errorf("%s has not announced its routes within %v\n%s", p.edgeName(), readyPatience, tail(c.edge(i).program.log, 8))
		}
	}
	return err
}

// watchEnds returns a context that ends when a child does, the reason as its cause. The caller ends it.
func (c *cluster) watchEnds(ctx context.Context) (out context.Context, stop func()) {
	out, cancel := context.WithCancelCause(ctx)
	for _, p := range c.children() {
		go func() {
			select {
			case <-p.done:
				cancel(endedError{p})
			case <-out.Done():
			}
		}()
	}
	return out, func() { cancel(nil) }
}

func (c *cluster) startEdge(ctx context.Context, i int) error {
	name := places[i].edgeName()
	return c.launch(ctx, &c.edges[i], &program{name: name, args: []string{"run", "-c", filepath.Join(c.dir, name+".yaml")}, log: filepath.Join(c.dir, name+".log")})
}

func (c *cluster) startOrigin(ctx context.Context, i int) error {
	p := places[i]
	listen := at(p.originAddr(), c.ports.origin).String()
	return c.launch(ctx, &c.origins[i], &program{name: "origin " + p.name, args: []string{"demo-origin", "--region", p.name, "--listen", listen},
		log: filepath.Join(c.dir, "origin-"+p.name+".log")})
}

func (c *cluster) launch(ctx context.Context, into **process, p *program) error {
	pr, err := c.launcher.start(ctx, p)
	if err != nil {
		return err
	}
	c.mu.Lock()
	*into = pr
	c.mu.Unlock()
	return nil
}

func (c *cluster) edge(i int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.edges[i]
}

func (c *cluster) origin(i int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.origins[i]
}

// children are all that were started, ended or not.
func (c *cluster) children() (out []*process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [][len(places)]*process{c.edges, c.origins} {
		for _, p := range list {
			if p != nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// end stops all children together.
func (c *cluster) end() {
	c.screen.say("Edges and origins are being stopped.")
	var all sync.WaitGroup
	for _, p := range c.children() {
		all.Go(func() {
			if err := p.stop(stopPatience); err != nil {
				c.screen.say("%v", err)
			}
		})
	}
	all.Wait()
}

// tellRoutes prints a line for each change of the routes.
func (c *cluster) tellRoutes(ctx context.Context) {
	changed, stop := c.rib.watch()
	defer stop()
	seen := c.rib.load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		now := c.rib.load()
		for _, line := range changes(seen, now) {
			c.screen.say("%s", line)
		}
		seen = now
	}
}

// revive starts again what has ended, after a pause, until ctx ends.
func (c *cluster) revive(ctx context.Context) error {
	for {
		ended, stop := c.watchEnds(ctx)
		<-ended.Done()
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.screen.say("%v; it is started again in %v", context.Cause(ended), restartPause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restartPause):
		}
		if err := c.restart(ctx); err != nil {
			return err
		}
	}
}

func (c *cluster) restart(ctx context.Context) error {
	for i := range places {
		if !c.edge(i).running() {
			if err := c.startEdge(ctx, i); err != nil {
				return err
			}
			c.screen.say("%s is started again, pid %d", places[i].edgeName(), c.edge(i).pid())
		}
		if !c.origin(i).running() {
			if err := c.startOrigin(ctx, i); err != nil {
				return err
			}
			c.screen.say("origin %s is started again, pid %d", places[i].name, c.origin(i).pid())
		}
	}
	return nil
}
