package wan

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/netns"
)

// ifreq is struct ifreq of <linux/if.h>: a name and a union, of which flags and MTU are used here.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	value [24]byte
}

func (r *ifreq) setFlags(f uint16) { *(*uint16)(unsafe.Pointer(&r.value)) = f }
func (r *ifreq) setMTU(n int32)    { *(*int32)(unsafe.Pointer(&r.value)) = n }

// openTun creates a TUN device inside the namespace, up and with the given MTU, and returns its descriptor, which works from any
// thread and whose closing removes the device. With offload the kernel hands over whole TCP and UDP segments trains (GSO)
// with their virtio header, up to 64 KiB a packet, and takes them likewise.
func openTun(ns netns.Namespace, name string, mtu int, offload bool) (fd int, err error) {
	if len(name) >= unix.IFNAMSIZ {
		return -1, fmt.Errorf("interface name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
	}
	err = ns.Do(func() error {
		fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		if err := configureTun(fd, name, mtu, offload); err != nil {
			unix.Close(fd)
			return err
		}
		return nil
	})
	if err != nil {
		return -1, fmt.Errorf("device %s in %s: %w", name, ns, err)
	}
	return fd, nil
}

func configureTun(fd int, name string, mtu int, offload bool) error {
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	r := ifreq{}
	copy(r.name[:], name)
	r.setFlags(flags)
	if err := ioctl(fd, unix.TUNSETIFF, uintptr(unsafe.Pointer(&r))); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if offload {
		const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6
		if err := ioctl(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
			return fmt.Errorf("switch segmentation offload on: %w", err)
		}
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r.setMTU(int32(mtu))
	if err := ioctl(s, unix.SIOCSIFMTU, uintptr(unsafe.Pointer(&r))); err != nil {
		return fmt.Errorf("set MTU %d: %w", mtu, err)
	}
	r.value = [24]byte{}
	r.setFlags(unix.IFF_UP | unix.IFF_RUNNING)
	if err := ioctl(s, unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&r))); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}

func ioctl(fd int, request uint, arg uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), arg); errno != 0 {
		return errno
	}
	return nil
}
