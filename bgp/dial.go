package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// socketError is a socket option that could not be set.
type socketError struct {
	option string
	err    error
}

func (e *socketError) Error() string {
	return fmt.Sprintf("this system does not let the session's socket have %s: %s", e.option, e.err)
}

func (e *socketError) Unwrap() error { return e.err }

// socketOptions is what a session's TCP connection gets before it is made.
type socketOptions struct {
	v6          bool
	ttl         int // of packets sent, 0: the system's own
	minTTL      int // of packets received, 0: any
	password    secret
	peer        netip.Addr
	userTimeout int // milliseconds that sent data may stay unacknowledged
}

// options follows RFC 5082 for TTL security; an external neighbor without multihop is directly connected, so its TTL is 1.
func options(c *NeighborConfig, ownASN uint32, password secret) socketOptions {
	o := socketOptions{
		v6:          c.Address.Is6(),
		password:    password,
		peer:        c.Address,
		userTimeout: int(c.HoldTime.Milliseconds()),
	}
	switch {
	case c.TTLSecurity:
		o.ttl, o.minTTL = 255, 255
	case c.Multihop > 0:
		o.ttl = int(c.Multihop)
	case c.ASN != ownASN:
		o.ttl = 1
	}
	return o
}

// dial connects to the neighbor, without Multipath TCP, whose sockets know neither MD5 nor a least TTL.
func dial(ctx context.Context, c *NeighborConfig, o socketOptions) (*net.TCPConn, error) {
	d := net.Dialer{
		Timeout:   dialTimeout,
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, rc syscall.RawConn) error {
			var err error
			if cerr := rc.Control(func(fd uintptr) { err = setOptions(int(fd), o) }); cerr != nil {
				return cerr
			}
			return err
		},
	}
	d.SetMultipathTCP(false)
	if c.LocalAddress.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.LocalAddress, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(c.Address, c.Port).String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}
