package loopback

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// dumpTries is how often a list is asked for that changed while the kernel wrote it.
const dumpTries = 5

func (k *kernel) list() (all []entry, err error) {
	for range dumpTries {
		r := k.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		r.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		var msgs [][]byte
		msgs, err = r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if errors.Is(err, nl.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			break
		}
		all = all[:0]
		for _, m := range msgs {
			if e, ok := parseEntry(m); ok {
				all = append(all, e)
			}
		}
		return all, nil
	}
	return nil, fmt.Errorf("the addresses of this machine: %w", err)
}

// parseEntry reads one RTM_NEWADDR.
func parseEntry(m []byte) (e entry, ok bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return entry{}, false
	}
	msg := nl.DeserializeIfAddrmsg(m)
	attrs, err := nl.ParseRouteAttr(m[msg.Len():])
	if err != nil {
		return entry{}, false
	}
	local := false // IFA_LOCAL is the address; without it, which is IPv6's way, IFA_ADDRESS is
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_LOCAL, unix.IFA_ADDRESS:
			if local && a.Attr.Type == unix.IFA_ADDRESS {
				continue
			}
			if addr, good := netip.AddrFromSlice(a.Value); good {
				e.addr, ok, local = addr, true, a.Attr.Type == unix.IFA_LOCAL
			}
		case ifaProto:
			e.marked = len(a.Value) == 1 && a.Value[0] == mark
		}
	}
	e.loopback = msg.Index == loIndex && int(msg.Prefixlen) == e.addr.BitLen()
	return e, ok
}

// local asks where a packet would go: an address may be this machine's without being on an interface (ip route add local … dev lo).
func (k *kernel) local(addr netip.Addr) (bool, error) {
	msg, _, err := k.route(addr)
	if err != nil {
		return false, fmt.Errorf("the route to %s: %w", addr, err)
	}
	return msg != nil && msg.Type == unix.RTN_LOCAL, nil
}

// route asks for the way to an address; nil when there is none.
func (k *kernel) route(addr netip.Addr) (*nl.RtMsg, []syscall.NetlinkRouteAttr, error) {
	r := k.request(unix.RTM_GETROUTE, 0)
	msg := &nl.RtMsg{}
	msg.Family, msg.Dst_len = unix.AF_INET, uint8(addr.BitLen())
	if addr.Is6() {
		msg.Family = unix.AF_INET6
	}
	r.AddData(msg)
	r.AddData(nl.NewRtAttr(unix.RTA_DST, addr.AsSlice()))
	answers, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	var errno syscall.Errno
	if errors.As(err, &errno) && noRoute[errno] {
		return nil, nil, nil
	}
	if err != nil || len(answers) == 0 || len(answers[0]) < unix.SizeofRtMsg {
		return nil, nil, errors.Join(errors.New("the kernel has no answer"), err)
	}
	found := nl.DeserializeRtMsg(answers[0])
	attrs, err := nl.ParseRouteAttr(answers[0][unix.SizeofRtMsg:])
	return found, attrs, err
}

// noRoute are the kernel's words for an address that packets cannot go to: none, and the types unreachable, blackhole and prohibit.
var noRoute = map[syscall.Errno]bool{unix.ENETUNREACH: true, unix.EHOSTUNREACH: true, unix.EINVAL: true, unix.EACCES: true}

func (k *kernel) toward(addr netip.Addr) string {
	_, attrs, err := k.route(addr)
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Attr.Type != unix.RTA_OIF || len(a.Value) != 4 {
			continue
		}
		if i, err := net.InterfaceByIndex(int(nl.NativeEndian().Uint32(a.Value))); err == nil {
			return i.Name
		}
	}
	return ""
}
