package loopback

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// loIndex is the loopback interface's in every network namespace (LOOPBACK_IFINDEX of the kernel).
	loIndex = 1
	// ifaProto is IFA_PROTO of linux/if_addr.h, who has added an address: kept since Linux 5.18, ignored before.
	ifaProto = 11
	// mark is our IFA_PROTO. The kernel's own are 1 to 3; routing daemons that have one use their number among the protocols of routes.
	mark = 0xac
	// kernelTimeout bounds a question to the kernel, which answers at once.
	kernelTimeout = time.Second
)

// kernel is the host over rtnetlink(7).
type kernel struct {
	sockets map[int]*nl.SocketHandle // one, for questions and orders
	events  *os.File
}

func openHost() (host, error) {
	s, err := nl.GetNetlinkSocketAt(-1, -1, unix.NETLINK_ROUTE) // of this thread's network namespace
	if err != nil {
		return nil, fmt.Errorf("anycast.addresses: netlink: %w", err)
	}
	tv := unix.NsecToTimeval(kernelTimeout.Nanoseconds())
	err = errors.Join(s.SetSendTimeout(&tv), s.SetReceiveTimeout(&tv))
	var events *os.File
	if err == nil {
		events, err = openEvents()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("anycast.addresses: netlink: %w", err)
	}
	return &kernel{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}, events}, nil
}

func (k *kernel) close() {
	k.sockets[unix.NETLINK_ROUTE].Close()
	_ = k.events.Close()
}

func (k *kernel) request(kind, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = k.sockets
	return r
}

func (k *kernel) permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errNotPermitted
	}
	return nil
}

var errNotPermitted = errors.New("adding addresses to the loopback interface needs CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN); " +
	"or put them there yourself and leave it out")

// change sends an RTM_NEWADDR or RTM_DELADDR for a whole address on the loopback interface.
func (k *kernel) change(r *nl.NetlinkRequest, addr netip.Addr, attrs ...*nl.RtAttr) error {
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	if addr.Is6() {
		msg = nl.NewIfAddrmsg(unix.AF_INET6)
	} else {
		// Of scope host, so that the kernel never chooses it as the source of a connection of ours, whose answers would go to the
		// nearest region.
		msg.Scope = unix.RT_SCOPE_HOST
	}
	msg.Index, msg.Prefixlen = loIndex, uint8(addr.BitLen())
	r.AddData(msg)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, addr.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, addr.AsSlice()))
	for _, a := range attrs {
		r.AddData(a)
	}
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EPERM) {
		return errNotPermitted
	}
	return err
}

func (k *kernel) add(addr netip.Addr) (bool, error) {
	attrs := []*nl.RtAttr{nl.NewRtAttr(ifaProto, []byte{mark})}
	if addr.Is6() {
		// Nobody else on the loopback interface can have it, so it need not be tentative (RFC 4862 §5.4). Valid for ever, but deprecated
		// (§5.5.4): what the scope is for IPv4.
		life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: forever, Prefered: 0}}
		attrs = append(attrs, nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)), nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
	}
	err := k.change(k.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK), addr, attrs...)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case addr.Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EOPNOTSUPP)):
		return false, fmt.Errorf("the loopback interface has no IPv6 (%w); set net.ipv6.conf.lo.disable_ipv6=0, or leave the IPv6 addresses and prefixes out", err)
	}
	return false, fmt.Errorf("adding it to the loopback interface: %w", err)
}

// forever is the kernel's INFINITY_LIFE_TIME.
const forever = 0xffffffff

func (k *kernel) remove(addr netip.Addr) error {
	err := k.change(k.request(unix.RTM_DELADDR, unix.NLM_F_ACK), addr)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing it from the loopback interface: %w", err)
	}
	return nil
}
