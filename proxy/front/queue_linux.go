package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// acceptQueue asks the kernel. Of a socket that listens, tcpi_unacked is the length of the queue and tcpi_sacked its limit, the smaller of what was
// asked for and net.core.somaxconn.
func acceptQueue(l net.Listener) (q AcceptQueue, err error) {
	err = onSocket(l, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			q.Waiting, q.Limit = int(info.Unacked), int(info.Sacked)
		}
		return err
	})
	return q, err
}
