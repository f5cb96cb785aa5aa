package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
	"nearcast/internal/lab/wan"
)

// settleTime bounds how long the routers may take to know the way everywhere once everything has been started.
const settleTime = 40 * time.Second

// Up builds the lab and returns once every router knows the way everywhere and, unless there are no edges, every edge is announced. Leftovers
// of an earlier lab are removed first. On an error nothing stays. The caller closes the lab.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if missing := Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("the lab needs %s", strings.Join(missing, ", "))
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	lock, err := tryLock()
	if held := (*HeldError)(nil); errors.As(err, &held) && o.Wait > 0 {
		o.Log.Info("waiting for another lab to end", "process", held.Holder.PID, "command", held.Holder.Command, "at_most", o.Wait)
		waiting, cancel := context.WithTimeout(ctx, o.Wait)
		lock, err = waitLock(waiting)
		cancel()
	}
	if err != nil {
		return nil, err
	}
	l, err := newLab(o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	l.lock, l.links = lock, map[string]*wan.Link{}
	if err := l.build(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // whatever was under way failed of that
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), holderGrace)
		defer cancel()
		return nil, errors.Join(err, l.Close(undo))
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	start := time.Now()
	if err := sweep(ctx); err != nil {
		return fmt.Errorf("remove an earlier lab: %w", err)
	}
	for _, dir := range []string{programDir, l.options.LogDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := l.eachRegion(func(r Region) error { return l.buildRegion(ctx, r) }); err != nil {
		return err
	}
	for _, p := range paths {
		if err := l.buildPath(ctx, p); err != nil {
			return err
		}
	}
	l.log.Info("namespaces and links are up", "took", time.Since(start))
	if err := l.makeCertificates(); err != nil {
		return err
	}
	if err := l.eachRegion(func(r Region) error { return l.startRegion(ctx, r) }); err != nil {
		return err
	}
	l.log.Info("programs are up", "took", time.Since(start))
	settle, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := l.eachRegion(func(r Region) error { return l.awaitRegion(settle, r, int(r.Edges)) }); err != nil {
		return err
	}
	l.log.Info("every route is there", "took", time.Since(start))
	return l.saveState()
}

// eachRegion runs f for all regions at the same time.
func (l *Lab) eachRegion(f func(Region) error) error {
	errs := make([]error, len(regions))
	var wg sync.WaitGroup
	for i, r := range regions {
		wg.Go(func() {
			if err := f(r); err != nil {
				errs[i] = fmt.Errorf("region %s: %w", r.Name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// buildRegion makes the region's namespaces and joins them to the router.
func (l *Lab) buildRegion(ctx context.Context, r Region) error {
	if err := os.MkdirAll(regionDir(r.Name), 0o755); err != nil {
		return err
	}
	hub := Namespace(Router, r.Name)
	if err := hub.Create(ctx); err != nil {
		return err
	}
	err := hub.Sysctl(map[string]string{
		"net/ipv4/ip_forward":                "1",
		"net/ipv6/conf/all/forwarding":       "1",
		"net/ipv4/fib_multipath_hash_policy": "1", // by ports too, or one client would always meet the same of two edges
		"net/ipv6/fib_multipath_hash_policy": "1",
		"net/ipv6/conf/default/forwarding":   "1",
		"net/ipv6/icmp/ratelimit":            "0",
		"net/ipv4/conf/all/send_redirects":   "0",
		"net/ipv4/icmp_ratelimit":            "0",
	})
	if err != nil {
		return err
	}
	for _, role := range behindRouter {
		if role == Edge {
			continue
		}
		v4, v6 := r.subnet(role)
		if err := buildHost(ctx, hub, string(role)+"0", Namespace(role, r.Name), v4, v6); err != nil {
			return err
		}
	}
	for _, s := range r.Sites() {
		v4, v6 := s.subnet()
		own := Namespace(Edge, s.Name())
		if err := buildHost(ctx, hub, s.device(), own, v4, v6); err != nil {
			return err
		}
		err := own.IP(ctx, // the service addresses, which every edge has
			fmt.Sprintf("addr add %s/32 dev lo", Service4),
			fmt.Sprintf("addr add %s/128 dev lo nodad", Service6))
		if err != nil {
			return err
		}
	}
	return nil
}

// buildHost makes a namespace behind the router and its link to it. The device is the router's end, which the routers' configurations name.
func buildHost(ctx context.Context, hub netns.Namespace, device string, own netns.Namespace, v4, v6 netip.Prefix) error {
	if err := own.Create(ctx); err != nil {
		return err
	}
	router4, router6, own4, own6 := pair(v4, v6)
	if err := join(ctx, hub, device, own, "up0"); err != nil {
		return err
	}
	return errors.Join(
		hub.IP(ctx, fmt.Sprintf("addr add %s/30 dev %s", router4, device), fmt.Sprintf("addr add %s/64 dev %s nodad", router6, device)),
		own.IP(ctx, fmt.Sprintf("addr add %s/30 dev up0", own4), fmt.Sprintf("addr add %s/64 dev up0 nodad", own6),
			fmt.Sprintf("route add default via %s", router4), fmt.Sprintf("route add ::/0 via %s", router6)))
}

// join connects two namespaces with a pair of virtual Ethernet devices.
func join(ctx context.Context, a netns.Namespace, deviceA string, b netns.Namespace, deviceB string) error {
	if err := a.IP(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %s", deviceA, deviceB, b),
		fmt.Sprintf("link set %s up", deviceA)); err != nil {
		return err
	}
	return b.IP(ctx, fmt.Sprintf("link set %s up", deviceB))
}

// buildPath opens a wide-area link.
func (l *Lab) buildPath(ctx context.Context, p path) error {
	link, err := wan.Open(wan.Config{
		A: wan.Endpoint{Namespace: Namespace(Router, p.a), Interface: "wan-" + p.b},
		B: wan.Endpoint{Namespace: Namespace(Router, p.b), Interface: "wan-" + p.a}, Delay: p.delay,
	})
	if err != nil {
		return err
	}
	l.links[linkName(p.a, p.b)] = link
	for _, name := range []string{p.a, p.b} {
		own4, own6, other, _, _, _ := p.end(name)
		err := Namespace(Router, name).IP(ctx, fmt.Sprintf("addr add %s/30 dev wan-%s", own4, other),
			fmt.Sprintf("addr add %s/64 dev wan-%s nodad", own6, other))
		if err != nil {
			return err
		}
	}
	return nil
}

// startRegion starts the region's programs.
func (l *Lab) startRegion(ctx context.Context, r Region) error {
	if err := l.startRouter(ctx, r); err != nil {
		return err
	}
	if l.options.NoEdges {
		return nil
	}
	if err := l.StartOrigin(r.Name); err != nil {
		return err
	}
	for _, s := range r.Sites() {
		if err := l.StartEdge(s.Name(), EdgeOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) startRouter(ctx context.Context, r Region) error {
	programs, err := l.routers[r.Name].Prepare()
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, settleTime)
	ready, failed := context.WithCancelCause(ready)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	defer failed(nil)
	for _, p := range programs {
		log := l.LogFile(r.Name + "-" + p.Name)
		id, err := l.start(process.Spec{Name: r.Name + "-" + p.Name, Namespace: Namespace(Router, r.Name), Args: p.Args, Log: log})
		if err != nil {
			return err
		}
		watchers.Go(func() {
			if id.Wait(ready) == nil {
				failed(fmt.Errorf("%s ended: %s", p.Name, tail(log)))
			}
		})
		if err := awaitFile(ready, p.Ready); err != nil {
			return err
		}
	}
	return l.routers[r.Name].Configure(ready)
}

// RestartRouter stops the daemons of a region's router and starts them anew. It returns once they answer their operator, which is before they have
// their sessions.
func (l *Lab) RestartRouter(ctx context.Context, name string) error {
	r, err := region(name)
	if err != nil {
		return err
	}
	programs, err := l.routers[name].Prepare()
	if err != nil {
		return err
	}
	for i := len(programs) - 1; i >= 0; i-- {
		if err := l.programs.Stop(ctx, name+"-"+programs[i].Name, 5*time.Second); err != nil {
			return err
		}
		if ready := programs[i].Ready; ready != "" {
			if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return l.startRouter(ctx, r)
}

// start starts a program. An error quotes its log, which may go with the lab.
func (l *Lab) start(spec process.Spec) (process.ID, error) {
	id, err := l.programs.Start(spec)
	if err != nil {
		if said := tail(spec.Log); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
	}
	return id, err
}

func awaitFile(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	return await(ctx, path, func() (bool, string, error) {
		_, err := os.Stat(path)
		return err == nil, "", err
	})
}

// tail is the end of a program's log, for an error.
func tail(log string) string {
	const most = 500
	data, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-most):]))
}

// awaitRegion returns once the region's router knows the way to everything in the other regions and so many of its own edges announce.
func (l *Lab) awaitRegion(ctx context.Context, r Region, edges int) error {
	for _, other := range regions {
		if other.Name == r.Name {
			continue
		}
		if err := l.awaitRoutes(ctx, r.Name, "a way to "+other.Name, present, other.networks()...); err != nil {
			return err
		}
	}
	if l.options.NoEdges {
		return nil
	}
	return l.awaitRoutes(ctx, r.Name, "its edges' routes", ownBy(edges), Prefix4, Prefix6)
}
