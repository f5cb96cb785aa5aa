package front

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// synFilter drops segments that open a connection: SYN without ACK. The kernel runs a TCP socket's filter on the segment from its TCP
// header on, and a segment that a listener's filter drops is not answered, where a closed or full listener might answer with a reset.
var synFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},          // the flags
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},       // ACK, SYN
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: 0x2}, // SYN alone?
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

func pauseTCP(l net.Listener) error {
	return onSocket(l, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(synFilter)), Filter: &synFilter[0]})
	})
}

func resumeTCP(l net.Listener) error {
	return onSocket(l, func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(err, unix.ENOENT) {
			return nil // it was not paused
		}
		return err
	})
}

func onSocket(l net.Listener, do func(fd int) error) error {
	c, ok := l.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
