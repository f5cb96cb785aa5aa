package bfd

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	classCS6      = 0xc0
	priorityCS6   = 6
	firstPort     = 49152 // RFC 5881 section 4
	sourcePorts   = 65536 - firstPort
	portAttempts  = 32
	unreadBuffer  = 4096 // of the sockets that only send
	sendTTL       = 255  // RFC 5881 section 5; over several hops it lets the other side tell how many
	receiveBuffer = 256 << 10
)

// sockets are one session's.
type sockets struct {
	fd       int // connected; packets are sent on it and none read
	listener *listener
	local    netip.Addr
	scope    uint32 // of a link-local neighbor
	failed   bool   // nothing can be sent any more
	openedAt time.Time
	nextTry  time.Time
	toldAt   time.Time // when the log was told of a fault
	fault    fault
}

func noSockets() sockets { return sockets{fd: -1} }

// listener receives for all sessions with the same local address and port. It is bound to that address, so that packets to other addresses
// of this machine, the anycast ones among them, are not taken; and it can't be one a session, since all packets come to one port from
// source ports that are not known before.
type listener struct {
	fd       int
	at       netip.AddrPort
	sessions []*Session
}

// find is the session with the sender of a packet.
func (r *listener) find(in *inbox) *Session {
	from, scope := in.from()
	for _, s := range r.sessions {
		if s.peer.Address.WithZone("") == from && (s.sockets.scope == 0 || s.sockets.scope == scope) {
			return s
		}
	}
	return nil
}

// lasting says whether an error of sending will not pass by itself.
func lasting(err error) bool {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR), errors.Is(err, unix.EPERM):
		return false // the router has no BFD yet, a queue is full, a signal, a packet filter
	}
	return true
}

func (l *loop) openSockets(s *Session) *fault {
	k := &s.sockets
	k.failed, k.local = false, netip.Addr{}
	fd, err := socket(s.peer.Address.Is6())
	if err != nil {
		return &fault{"a socket can't be opened", err}
	}
	k.fd = fd
	if err := l.prepare(s, fd); err != nil {
		unix.Close(fd)
		k.fd = -1
		return err
	}
	return nil
}

// prepare binds and connects the socket to send on, which says what the local address is, and has a listener there.
func (l *loop) prepare(s *Session, fd int) *fault {
	k := &s.sockets
	to, err := sockaddr(s.peer.Address, s.peer.port())
	if err != nil {
		return &fault{"no way to " + s.peer.Address.String(), err}
	}
	if to6, ok := to.(*unix.SockaddrInet6); ok {
		k.scope = to6.ZoneId
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, unreadBuffer)
	if err := l.bindSource(s, fd); err != nil {
		return &fault{"local_address " + s.peer.Local.String() + " can't be used", err}
	}
	if err := unix.Connect(fd, to); err != nil {
		return &fault{"no way to " + s.peer.Address.String(), err}
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return &fault{"no local address", err}
	}
	k.local = address(own)
	return l.listen(s)
}

// bindSource takes a source port that no other session has.
func (l *loop) bindSource(s *Session, fd int) error {
	local := s.peer.Local
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
		if s.peer.Address.Is6() {
			local = netip.IPv6Unspecified()
		}
	}
	var err error
	for range portAttempts {
		var at unix.Sockaddr
		if at, err = sockaddr(local, uint16(firstPort+rand.IntN(sourcePorts))); err != nil {
			return err
		}
		if err = unix.Bind(fd, at); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	return err
}

// listen joins the session to the listener at its address, which is opened for the first.
func (l *loop) listen(s *Session) *fault {
	at := netip.AddrPortFrom(s.sockets.local, s.peer.port())
	for _, r := range l.listeners {
		if r.at == at {
			r.sessions = append(r.sessions, s)
			s.sockets.listener = r
			return nil
		}
	}
	fd, err := openListener(at)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &fault{"UDP port " + strconv.Itoa(int(at.Port())) + " of " + at.Addr().String() + " is taken, by another BFD program perhaps", err}
	case err != nil:
		return &fault{"UDP port " + strconv.Itoa(int(at.Port())) + " of " + at.Addr().String() + " can't be opened", err}
	}
	r := &listener{fd: fd, at: at, sessions: []*Session{s}}
	s.sockets.listener = r
	l.listeners = append(l.listeners, r)
	l.setPolled()
	return nil
}

func openListener(at netip.AddrPort) (int, error) {
	fd, err := socket(at.Addr().Is6())
	if err != nil {
		return -1, err
	}
	to, err := sockaddr(at.Addr(), at.Port())
	if err == nil {
		level, option := unix.IPPROTO_IP, unix.IP_RECVTTL
		if at.Addr().Is6() {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT
		}
		err = unix.SetsockoptInt(fd, level, option, 1)
	}
	if err == nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		err = unix.Bind(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setPolled has the waker and all listeners waited for.
func (l *loop) setPolled() {
	l.polled = append(l.polled[:0], unix.PollFd{Fd: int32(l.e.wake.fd), Events: unix.POLLIN})
	for _, r := range l.listeners {
		l.polled = append(l.polled, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}
}

func (l *loop) closeSockets(s *Session) {
	k := &s.sockets
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
	k.fd = -1
	r := k.listener
	if k.listener = nil; r == nil {
		return
	}
	r.sessions = without(r.sessions, s)
	if len(r.sessions) == 0 {
		unix.Close(r.fd)
		l.listeners = without(l.listeners, r)
		l.setPolled()
	}
}

func without[T comparable](all []T, one T) []T {
	var rest []T
	for _, v := range all {
		if v != one {
			rest = append(rest, v)
		}
	}
	return rest
}

// socket is a UDP socket for BFD.
func socket(v6 bool) (int, error) {
	family, level, ttl, class := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if v6 {
		family, level, ttl, class = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if v6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	err = errors.Join(err, unix.SetsockoptInt(fd, level, ttl, sendTTL), unix.SetsockoptInt(fd, level, class, classCS6),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priorityCS6))
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.Addr, port uint16) (unix.Sockaddr, error) {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}, nil
	}
	to := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if zone := a.Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, errors.New("there is no interface " + zone)
		}
		to.ZoneId = uint32(i.Index)
	}
	return to, nil
}

// address is a socket's own, with the interface's index as its zone where it is link-local.
func address(a unix.Sockaddr) netip.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(a.Addr)
		if a.ZoneId == 0 {
			return addr
		}
		if i, err := net.InterfaceByIndex(int(a.ZoneId)); err == nil {
			return addr.WithZone(i.Name)
		}
		return addr
	}
	return netip.Addr{}
}
