package bgp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	ipv6MinHopCount = 73 // IPV6_MINHOPCOUNT of linux/in6.h
	classCS6        = 0xc0
	maxMD5Key       = unix.TCP_MD5SIG_MAXKEYLEN
)

// setOptions prepares a socket for a session.
func setOptions(fd int, o socketOptions) error {
	level, ttl, minTTL, tos := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL, unix.IP_TOS
	if o.v6 {
		level, ttl, minTTL, tos = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ipv6MinHopCount, unix.IPV6_TCLASS
	}
	set := []struct {
		what              string
		level, opt, value int
		skip              bool
	}{
		{"a TTL", level, ttl, o.ttl, o.ttl == 0},
		{"TTL security (RFC 5082)", level, minTTL, o.minTTL, o.minTTL == 0},
		{"the traffic class of network control", level, tos, classCS6, false},
		{"a user timeout (RFC 5482)", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, o.userTimeout, o.userTimeout == 0},
	}
	for _, s := range set {
		if s.skip {
			continue
		}
		if err := unix.SetsockoptInt(fd, s.level, s.opt, s.value); err != nil {
			return &socketError{s.what, err}
		}
	}
	if o.password.empty() {
		return nil
	}
	if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, md5Key(o.peer, o.password)); err != nil {
		return &socketError{"a password (TCP MD5, RFC 2385)", err}
	}
	return nil
}

// md5Key has the neighbor's address as a sockaddr in it.
func md5Key(peer netip.Addr, password secret) *unix.TCPMD5Sig {
	k := &unix.TCPMD5Sig{Keylen: uint16(len(password.reveal()))}
	copy(k.Key[:], password.reveal())
	if peer.Is4() {
		k.Addr.Family = unix.AF_INET
		copy(k.Addr.Data[2:], peer.AsSlice())
		return k
	}
	k.Addr.Family = unix.AF_INET6
	copy(k.Addr.Data[6:], peer.WithZone("").AsSlice())
	if zone := peer.Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			binary.NativeEndian.PutUint32(k.Addr.Data[22:], uint32(i.Index))
		}
	}
	return k
}

// sendQueue is how many octets the connection still has that the other end has not acknowledged, those not sent yet included.
func sendQueue(c *net.TCPConn) (n int, ok bool) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	cerr := rc.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, cerr == nil && err == nil
}

// ownSocket says whether the other end of a connection over loopback belongs to this process.
func ownSocket(c *net.TCPConn) (bool, error) {
	near, far := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return false, err
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if a, err := unix.Getsockname(fd); err != nil || addrPort(a) != far {
			continue
		}
		if a, err := unix.Getpeername(fd); err == nil && addrPort(a) == near {
			return true, nil
		}
	}
	return false, nil
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	if v4, ok := a.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
	}
	return netip.AddrPort{}
}
