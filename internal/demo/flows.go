package demo

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxFlows     = 256              // for each listener; another evicts the one that was silent longest
	flowIdle     = 30 * time.Second // a flow ends after this long without a datagram from its client
	maxDatagram  = 64 << 10
	sweepsInIdle = 4
)

// flows forwards datagrams, each client's to one edge.
type flows struct {
	f *forwarder

	mu      sync.Mutex
	byAddr  map[netip.AddrPort]*list.Element // of *flow
	recent  *list.List                       // most recent first
	replies sync.WaitGroup

	evicted atomic.Int64 // flows that ended because maxFlows was reached
}

// flow is one client's way to an edge.
type flow struct {
	client netip.AddrPort
	edge   int
	socket *net.UDPConn // connected to the edge
	last   time.Time    // guarded by flows.mu
}

func newFlows(f *forwarder) *flows {
	return &flows{f: f, byAddr: make(map[netip.AddrPort]*list.Element), recent: list.New()}
}

func (t *flows) run(ctx context.Context) {
	var sweeping sync.WaitGroup
	defer t.end()
	defer sweeping.Wait()
	sweeping.Go(func() { t.sweep(ctx) })
	b := make([]byte, maxDatagram)
	for {
		n, client, err := t.f.udp.ReadFromUDPAddrPort(b)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of some client
		}
		if fl := t.get(client, time.Now()); fl != nil {
			fl.socket.Write(b[:n]) // what an edge does not take is lost, as on a network
		}
	}
}

// get returns the client's flow, moved to the nearest edge when its own is gone; nil when nobody announces.
func (t *flows) get(client netip.AddrPort, now time.Time) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	routes := t.f.rib.load()
	if e, ok := t.byAddr[client]; ok {
		fl := e.Value.(*flow)
		if routes.keeps(fl.edge) {
			fl.last = now
			t.recent.MoveToFront(e)
			return fl
		}
		t.remove(e)
	}
	edge, ok := routes.nearest(t.f.from)
	if !ok {
		return nil
	}
	if len(t.byAddr) >= maxFlows {
		t.remove(t.recent.Back())
		t.evicted.Add(1)
	}
	socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(t.f.target(edge)))
	if err != nil {
		return nil
	}
	fl := &flow{client: client, edge: edge, socket: socket, last: now}
	t.byAddr[client] = t.recent.PushFront(fl)
	t.replies.Go(func() { t.reply(fl) })
	return fl
}

// remove ends a flow. Called with mu held.
func (t *flows) remove(e *list.Element) {
	fl := t.recent.Remove(e).(*flow)
	delete(t.byAddr, fl.client)
	fl.socket.Close()
}

// reply carries the edge's datagrams to the client until the flow ends.
func (t *flows) reply(fl *flow) {
	b := make([]byte, maxDatagram)
	for {
		n, err := fl.socket.Read(b)
		if err == nil {
			t.f.udp.WriteToUDPAddrPort(b[:n], fl.client)
			continue
		}
		t.mu.Lock()
		e, ok := t.byAddr[fl.client]
		live := ok && e.Value.(*flow) == fl
		if live && !errors.Is(err, syscall.ECONNREFUSED) {
			t.remove(e)
			live = false
		}
		t.mu.Unlock()
		if !live {
			return
		}
	}
}

// sweep ends the flows that have been silent for flowIdle.
func (t *flows) sweep(ctx context.Context) {
	tick := time.NewTicker(flowIdle / sweepsInIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			t.expire(now)
		}
	}
}

func (t *flows) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.recent.Back(); e != nil && now.Sub(e.Value.(*flow).last) >= flowIdle; e = t.recent.Back() {
		t.remove(e)
	}
}

// end ends all flows and waits for them.
func (t *flows) end() {
	t.mu.Lock()
	for e := t.recent.Back(); e != nil; e = t.recent.Back() {
		t.remove(e)
	}
	t.mu.Unlock()
	t.replies.Wait()
}
