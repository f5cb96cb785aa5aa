package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// holdTime is what the router offers (RFC 4271 §4.2). A killed edge's session ends with its TCP connection, long before.
const holdTime = 9 * time.Second

// router takes the edges' BGP sessions, passively, and keeps what they announce in rib. It announces nothing.
type router struct {
	listener net.Listener
	rib      *rib
	say      func(format string, args ...any)

	mu       sync.Mutex
	sessions [len(places)]net.Conn
}

// run serves until ctx ends and then until its sessions have ended.
func (r *router) run(ctx context.Context) {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	stop := context.AfterFunc(ctx, func() { r.listener.Close() })
	defer stop()
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		edge, ok := edgeAt(c.RemoteAddr())
		if !ok {
			r.say("router: a connection from %v, which is no edge, refused", c.RemoteAddr())
			c.Close()
			continue
		}
		r.replace(edge, c)
		sessions.Go(func() { r.serve(ctx, edge, c) })
	}
}

// edgeAt tells the edges apart by their source address.
func edgeAt(a net.Addr) (int, bool) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return 0, false
	}
	for i, p := range places {
		if p.edgeAddr() == ap.Addr().Unmap() {
			return i, true
		}
	}
	return 0, false
}

// replace ends an older session of the same edge: the edge has begun anew.
func (r *router) replace(edge int, c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.sessions[edge]; old != nil {
		old.Close()
	}
	r.sessions[edge] = c
}

// serve runs one session. Its routes end with it.
func (r *router) serve(ctx context.Context, edge int, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	s := &session{conn: c, deadline: holdTime}
	err := s.establish()
	if err == nil {
		r.hold(edge, c, func(t *routes) { *t = routes{up: true} })
		err = s.receive(func(u *bgp.BGPUpdate) { r.hold(edge, c, func(t *routes) { apply(t, u) }) })
	}
	r.hold(edge, c, func(t *routes) { *t = routes{} })
	if ctx.Err() == nil {
		r.say("router: session with %s ended: %v", places[edge].edgeName(), err)
	}
}

// hold changes the edge's routes, unless a newer session has taken over.
func (r *router) hold(edge int, c net.Conn, change func(*routes)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[edge] == c {
		r.rib.update(edge, change)
	}
}

// apply takes in one UPDATE (RFC 4271 §4.3, RFC 4760).
func apply(t *routes, u *bgp.BGPUpdate) {
	set := func(list []bgp.PathNLRI, held bool) {
		for _, n := range list {
			if p, err := netip.ParsePrefix(n.NLRI.String()); err == nil {
				t.announce(p, held)
			}
		}
	}
	set(u.WithdrawnRoutes, false)
	set(u.NLRI, true)
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			set(a.Value, true)
		case *bgp.PathAttributeMpUnreachNLRI:
			set(a.Value, false)
		}
	}
}

// session is one BGP session from the router's side.
type session struct {
	conn     net.Conn
	deadline time.Duration // the negotiated hold time
}

// establish answers the edge's OPEN.
func (s *session) establish() error {
	m, err := s.read()
	if err != nil {
		return err
	}
	open, ok := m.Body.(*bgp.BGPOpen)
	if !ok {
		return fmt.Errorf("its first message is no OPEN")
	}
	if open.HoldTime > 0 {
		s.deadline = min(s.deadline, time.Duration(open.HoldTime)*time.Second)
	}
	caps := []bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapMultiProtocol(bgp.RF_IPv6_UC),
		bgp.NewCapFourOctetASNumber(routerASN)}
	ours, err := bgp.NewBGPOpenMessage(routerASN, uint16(holdTime.Seconds()), netip.MustParseAddr("198.51.100.254"),
		[]bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(caps)})
	if err != nil {
		return err
	}
	for _, m := range []*bgp.BGPMessage{ours, bgp.NewBGPKeepAliveMessage()} {
		if err := s.write(m); err != nil {
			return err
		}
	}
	m, err = s.read()
	if err != nil {
		return err
	}
	if n, ok := m.Body.(*bgp.BGPNotification); ok {
		return notified(n)
	}
	if _, ok := m.Body.(*bgp.BGPKeepAlive); !ok {
		return fmt.Errorf("no KEEPALIVE after its OPEN")
	}
	return nil
}

// receive hands each UPDATE to take until the session ends.
func (s *session) receive(take func(*bgp.BGPUpdate)) error {
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { s.keepAlive(done) })
	defer sending.Wait()
	defer close(done)
	for {
		m, err := s.read()
		if err != nil {
			return err
		}
		switch b := m.Body.(type) {
		case *bgp.BGPUpdate:
			take(b)
		case *bgp.BGPNotification:
			return notified(b)
		}
	}
}

func (s *session) keepAlive(done <-chan struct{}) {
	t := time.NewTicker(s.deadline / 3)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
			if s.write(bgp.NewBGPKeepAliveMessage()) != nil {
				s.conn.Close()
				return
			}
		}
	}
}

// notified is a NOTIFICATION as an error. A CEASE may carry a text (RFC 9003).
func notified(n *bgp.BGPNotification) error {
	text := ""
	if d := n.Data; n.ErrorCode == bgp.BGP_ERROR_CEASE && len(d) > 0 && int(d[0]) < len(d) {
		text = fmt.Sprintf(": %q", d[1:1+d[0]])
	}
	return fmt.Errorf("NOTIFICATION %d/%d%s", n.ErrorCode, n.ErrorSubcode, text)
}

// read reads one message, at most 4096 bytes (RFC 4271 §4.1).
func (s *session) read() (*bgp.BGPMessage, error) {
	s.conn.SetReadDeadline(time.Now().Add(s.deadline))
	b := make([]byte, bgp.BGP_HEADER_LENGTH, bgp.BGP_MAX_MESSAGE_LENGTH)
	if _, err := io.ReadFull(s.conn, b); err != nil {
		return nil, err
	}
	n := int(b[16])<<8 | int(b[17])
	if n < len(b) || n > cap(b) {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	head := len(b)
	b = b[:n]
	if _, err := io.ReadFull(s.conn, b[head:]); err != nil {
		return nil, err
	}
	return bgp.ParseBGPMessage(b)
}

func (s *session) write(m *bgp.BGPMessage) error {
	b, err := m.Serialize()
	if err != nil {
		return err
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.deadline))
	_, err = s.conn.Write(b)
	return err
}
