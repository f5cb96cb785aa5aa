package front

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenUDP opens n sockets on one address. Only the first is bound without SO_REUSEPORT, so that another process that wants the port is told
// that it is in use, and does not get a share of its packets.
func listenUDP(proto, address string, n int) (sockets []*net.UDPConn, err error) {
	defer func() {
		if err != nil {
			closeAll(sockets)
			sockets = nil
		}
	}()
	pc, err := net.ListenPacket(proto, address)
	if err != nil {
		return nil, err
	}
	first := pc.(*net.UDPConn)
	sockets = append(sockets, first)
	if n <= 1 {
		return sockets, nil
	}
	raw, err := first.SyscallConn()
	if err != nil {
		return sockets, err
	}
	if err := sharePort(raw); err != nil {
		return sockets, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return sharePort(raw) }}
	for range n - 1 {
		pc, err := lc.ListenPacket(context.Background(), proto, first.LocalAddr().String())
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, pc.(*net.UDPConn))
	}
	return sockets, nil
}

func sharePort(raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return failed
}
