package bfd

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inbox takes one packet at a time without allocating.
type inbox struct {
	header  unix.Msghdr
	vector  unix.Iovec
	name    unix.RawSockaddrInet6 // large enough for both families
	data    [128]byte             // more than any packet that is kept
	control [128]byte
	size    int
}

func (in *inbox) init() {
	in.vector.Base = &in.data[0]
	in.vector.SetLen(len(in.data))
	in.header.Iov, in.header.Name, in.header.Control = &in.vector, (*byte)(unsafe.Pointer(&in.name)), &in.control[0]
	in.header.SetIovlen(1)
}

// read takes a packet out of a socket, if there is one. The package's Recvmsg would allocate the sender's address.
func (in *inbox) read(fd int) bool {
	in.header.Namelen = unix.SizeofSockaddrInet6
	in.header.SetControllen(len(in.control))
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.header)), unix.MSG_DONTWAIT)
	in.size = int(n)
	return errno == 0
}

// payload is the packet. Of one that was longer than the buffer the rest is lost, which is no part of what is read.
func (in *inbox) payload() []byte { return in.data[:min(in.size, len(in.data))] }

// from is the sender, with the interface of a link-local one.
func (in *inbox) from() (netip.Addr, uint32) {
	if in.name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&in.name))
		return netip.AddrFrom4(v4.Addr), 0
	}
	return netip.AddrFrom16(in.name.Addr), in.name.Scope_id
}

// ttl is what the packet's TTL or hop limit was on arrival, -1: the kernel did not say.
func (in *inbox) ttl() int {
	return findTTL(in.control[:min(uint64(in.header.Controllen), uint64(len(in.control)))])
}

// findTTL looks through a socket's control messages.
func findTTL(b []byte) int {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := uint64(h.Len)
		if size < unix.SizeofCmsghdr || size > uint64(len(b)) {
			return -1
		}
		v4 := h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL
		v6 := h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT
		if data := b[unix.CmsgLen(0):size]; (v4 || v6) && len(data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
		b = b[min(unix.CmsgSpace(int(size)-unix.CmsgLen(0)), len(b)):]
	}
	return -1
}
