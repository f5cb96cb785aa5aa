package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// forwarder carries what a client in one place sends to a port of the anycast address to the nearest announcing edge. A
// connection stays with its edge while that drains, and is reset when the edge's session is gone: so a planned move is as
// gentle as the edges make it, and a crash is a crash.
type forwarder struct {
	// immutable
	from   int
	rib    *rib
	target func(edge int) netip.AddrPort
	tcp    net.Listener
	udp    *net.UDPConn // nil: TCP only

	carried atomic.Int64 // TCP connections now
}

// maxCarried bounds a forwarder's TCP connections; further ones are reset.
const maxCarried = 1024

// underWay is how long what an edge sent before its session ended may take to arrive.
const underWay = 200 * time.Millisecond

// run forwards until ctx ends and then until everything that it carries has ended.
func (f *forwarder) run(ctx context.Context) {
	var parts sync.WaitGroup
	defer parts.Wait()
	stop := context.AfterFunc(ctx, func() {
		f.tcp.Close()
		if f.udp != nil {
			f.udp.Close()
		}
	})
	defer stop()
	if f.udp != nil {
		parts.Go(func() { newFlows(f).run(ctx) })
	}
	for {
		c, err := f.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, perhaps: let some end
			time.Sleep(10 * time.Millisecond)
			continue
		}
		parts.Go(func() { f.carry(ctx, c.(*net.TCPConn)) })
	}
}

// carry forwards one TCP connection.
func (f *forwarder) carry(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	defer f.carried.Add(-1)
	if f.carried.Add(1) > maxCarried {
		cut(client)
		return
	}
	changed, unsubscribe := f.rib.watch()
	defer unsubscribe()
	edge, ok := f.rib.load().nearest(f.from)
	if !ok {
		cut(client)
		return
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", f.target(edge).String())
	if err != nil {
		cut(client)
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	both := make(chan struct{})
	go func() {
		defer close(both)
		var one sync.WaitGroup
		one.Go(func() { splice(server, client) })
		splice(client, server)
		one.Wait()
	}()
	f.watch(ctx, edge, changed, both, client)
	server.Close()
	<-both
}

// watch returns when both directions have ended; it cuts the connection when its edge is gone or ctx ends.
func (f *forwarder) watch(ctx context.Context, edge int, changed, both <-chan struct{}, client *net.TCPConn) {
	var late <-chan time.Time
	for {
		select {
		case <-both:
			return
		case <-changed:
			if late == nil && !f.rib.load().keeps(edge) {
				late = time.After(underWay)
			}
			continue
		case <-late:
		case <-ctx.Done():
		}
		cut(client)
		return
	}
}

// cut resets a client's connection.
func cut(client *net.TCPConn) {
	client.SetLinger(0)
	client.Close()
}

// splice copies one direction to its end, and hands a reset on as a reset.
func splice(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err == nil {
		to.CloseWrite()
		return
	}
	for _, c := range []*net.TCPConn{to, from} {
		c.SetLinger(0)
		c.Close()
	}
}
