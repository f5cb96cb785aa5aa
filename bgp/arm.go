package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// settleTime is what the embedded speaker gets to see that a connection is closed, before its peer is removed: it does not guard
// the removal against what the peer is just doing. A peer takes far longer to be ready again anyway.
const settleTime = 100 * time.Millisecond

// armTimeout is how long the embedded speaker may take to be ready; it takes up to 2 s, and 8 s after a connection it gave up on.
const armTimeout = 20 * time.Second

// peerTable is where an arm keeps its peer: the embedded speaker.
type peerTable interface {
	addPeer(addr netip.Addr, port uint16, c *NeighborConfig) error
	deletePeer(addr netip.Addr) error
}

// arm is one peer of the embedded speaker: a loopback address that the speaker dials, and that ends up as a connection on which
// the speaker has sent its OPEN and waits. Such a connection is joined with one to the router.
//
// The speaker takes up to 2 s to dial, and after a session is lost 5 s more. So each neighbor has three arms in turn: a spare one
// is ready at once, and the used one is removed and added again meanwhile.
type arm struct {
	// immutable
	table  peerTable
	addr   netip.Addr
	config *NeighborConfig
	log    *slog.Logger

	// owned by run
	failed time.Time // when a failure was last told of

	// owned by accept
	told time.Time

	// shared
	ready chan *net.TCPConn // capacity one
	again chan struct{}     // capacity one
}

func newArm(t peerTable, addr netip.Addr, c *NeighborConfig, log *slog.Logger) *arm {
	return &arm{table: t, addr: addr, config: c, log: log, ready: make(chan *net.TCPConn, 1), again: make(chan struct{}, 1)}
}

// run keeps the peer in the speaker until ctx ends.
func (a *arm) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.cycle(ctx); err != nil {
			if now := time.Now(); a.failed.IsZero() || now.Sub(a.failed) >= logEvery {
				a.failed = now
				a.log.Error("the embedded BGP speaker can't be prepared for neighbor "+neighborName(a.config)+"; trying again", "error", err)
			}
			pause(ctx, time.Second)
		}
	}
}

// cycle has a fresh peer, and hands over its connections until one was used up.
func (a *arm) cycle(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(a.addr, 0).String())
	if err != nil {
		return fmt.Errorf("it needs an IPv4 loopback, 127.0.0.0/8 on lo, on IPv6-only hosts too: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := a.table.addPeer(a.addr, port, a.config); err != nil {
		l.Close()
		return err
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		a.accept(ctx, l)
	}()
	select {
	case <-ctx.Done():
	case <-a.again:
	}
	cancel()
	l.Close()
	<-accepting
	if c := a.offer(nil); c != nil {
		c.Close()
	}
	pause(context.Background(), settleTime)
	return a.table.deletePeer(a.addr)
}

// accept offers each connection in place of the one before, which the speaker has given up on.
func (a *arm) accept(ctx context.Context, l net.Listener) {
	for ctx.Err() == nil {
		c, err := l.Accept()
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		conn := c.(*net.TCPConn)
		if own, err := ownSocket(conn); !own {
			a.refused(conn, err)
			conn.Close()
			continue
		}
		if old := a.offer(conn); old != nil {
			old.Close()
		}
	}
}

// refused tells of a connection that is not the embedded speaker's, now and then.
func (a *arm) refused(c net.Conn, err error) {
	if now := time.Now(); a.told.IsZero() || now.Sub(a.told) >= logEvery {
		a.told = now
		if err != nil {
			a.log.Error("can't tell whether a connection to the inside of the BGP speaker is its own, so no session comes up; is /proc mounted?", "error", err)
			return
		}
		a.log.Warn("refused a connection of another process to the inside of the BGP speaker", "from", c.RemoteAddr().String())
	}
}

// offer puts c, unless nil, up for taking, and returns what was there before. It never waits: wait may put back what it looked at.
func (a *arm) offer(c *net.TCPConn) (old *net.TCPConn) {
	for {
		select {
		case there := <-a.ready:
			if old != nil {
				old.Close()
			}
			old = there
		default:
		}
		if c == nil {
			return old
		}
		select {
		case a.ready <- c:
			return old
		default:
		}
	}
}

// take waits for a connection, at most for armTimeout. Whoever takes one calls release when it is used up.
func (a *arm) take(ctx context.Context) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, armTimeout)
	defer cancel()
	select {
	case c := <-a.ready:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait returns when a connection can be taken.
func (a *arm) wait(ctx context.Context) error {
	c, err := a.take(ctx)
	if err != nil {
		return err
	}
	select {
	case a.ready <- c:
	default:
		c.Close() // a newer one has come
	}
	return nil
}

// release has the peer removed and added again.
func (a *arm) release() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// pause waits, and says whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
