package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// SetRoute makes packets to a prefix go by a next hop from now on, instead of whatever route with the same prefix there was. It returns when
// the kernel has done so, which is within microseconds: ip(8) would need milliseconds.
func (n Namespace) SetRoute(to netip.Prefix, via netip.Addr) error {
	const flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	if err := n.exchange(unix.NETLINK_ROUTE, routeMessage(unix.RTM_NEWROUTE, flags, to, via)); err != nil {
		return fmt.Errorf("namespace %s: route to %s via %s: %w", n, to, via, err)
	}
	return nil
}

// DeleteRoute removes the route to exactly that prefix. That there is none is no error.
func (n Namespace) DeleteRoute(to netip.Prefix) error {
	err := n.exchange(unix.NETLINK_ROUTE, routeMessage(unix.RTM_DELROUTE, 0, to, netip.Addr{}))
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("namespace %s: remove the route to %s: %w", n, to, err)
	}
	return nil
}

// ForgetFlows empties the table of connections that the namespace's packet filter follows, so that its address translation begins each anew.
func (n Namespace) ForgetFlows() error {
	const del = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE; without attributes, of all
	if err := n.exchange(unix.NETLINK_NETFILTER, message(del, 0, make([]byte, 4))); err != nil {
		return fmt.Errorf("namespace %s: forget its flows: %w", n, err)
	}
	return nil
}

// message is a netlink message that asks for an acknowledgement, netlink(7).
func message(kind, flags uint16, body []byte) []byte {
	m := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(m, uint32(cap(m)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	return append(m, body...)
}

// routeMessage is about a unicast route of the main table, rtnetlink(7).
func routeMessage(kind, flags uint16, to netip.Prefix, via netip.Addr) []byte {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[1] = unix.AF_INET, byte(to.Bits())
	if to.Addr().Is6() {
		body[0] = unix.AF_INET6
	}
	body[4] = unix.RT_TABLE_MAIN
	if kind == unix.RTM_NEWROUTE {
		body[5], body[6], body[7] = unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	} else {
		body[6] = unix.RT_SCOPE_NOWHERE // whatever it is
	}
	body = appendAttribute(body, unix.RTA_DST, to.Addr().AsSlice())
	if via.IsValid() {
		body = appendAttribute(body, unix.RTA_GATEWAY, via.AsSlice())
	}
	return message(kind, flags, body)
}

// appendAttribute appends a value whose length is a multiple of four.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

// exchange sends a message to the kernel's side of a netlink protocol in the namespace and returns what the acknowledgement says.
func (n Namespace) exchange(protocol int, m []byte) error {
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		reply := make([]byte, 4096) // an error quotes the message
		read, _, err := unix.Recvfrom(fd, reply, 0)
		if err != nil {
			return err
		}
		return acknowledgement(reply[:read])
	})
}

// acknowledgement reads struct nlmsgerr.
func acknowledgement(reply []byte) error {
	const code = unix.SizeofNlMsghdr
	if len(reply) < code+4 || binary.NativeEndian.Uint16(reply[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is no acknowledgement")
	}
	if errno := int32(binary.NativeEndian.Uint32(reply[code:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}
