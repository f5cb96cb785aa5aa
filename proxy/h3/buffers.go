package h3

import (
	"os"

	"golang.org/x/sys/unix"
)

// wantBuffer is what quic-go asks the kernel for, in bytes.
const wantBuffer = 7 << 20

// silenceBufferWarning keeps quic-go from printing what checkBuffers says better. The environment is the only switch it has.
func silenceBufferWarning() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(name); !set {
		_ = os.Setenv(name, "true")
	}
}

// checkBuffers warns when the kernel grants less socket buffer than bursts need.
func (s *Server) checkBuffers() {
	udp := s.sockets[0].udp // they are all alike
	raw, err := udp.SyscallConn()
	if err != nil {
		return
	}
	var receive, send int
	_ = raw.Control(func(fd uintptr) {
		receive, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		send, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	if receive < wantBuffer || send < wantBuffer {
		s.log.Warn("the kernel grants small UDP buffers: HTTP/3 loses packets under load; "+
			"set the sysctls net.core.rmem_max and net.core.wmem_max to 7500000 or more",
			"address", udp.LocalAddr().String(), "receive_bytes", receive, "send_bytes", send)
	}
}
