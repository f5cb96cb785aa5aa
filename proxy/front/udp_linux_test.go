package front

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestThePortIsOurs: several sockets share it, and yet another process is told that it is in use, though it does as we do.
func TestThePortIsOurs(t *testing.T) {
	for _, c := range []struct{ network, address string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp4", "0.0.0.0:0"}, {"udp", ":0"}} {
		sockets, err := listenUDP(c.network, c.address, 4)
		if err != nil {
			if pc, err := net.ListenPacket(c.network, c.address); err != nil {
				t.Log(err) // a host without IPv6
				continue
			} else {
				pc.Close()
			}
			t.Fatalf("%s %s: %v", c.network, c.address, err)
		}
		defer closeAll(sockets)
		if len(sockets) != 4 {
			t.Errorf("%s: %d sockets", c.address, len(sockets))
		}
		port := sockets[0].LocalAddr().String()
		for _, s := range sockets {
			if s.LocalAddr().String() != port {
				t.Errorf("%s: sockets at %s and %s", c.address, port, s.LocalAddr())
			}
		}
		for _, n := range []int{1, 4} {
			if again, err := listenUDP(c.network, port, n); !errors.Is(err, syscall.EADDRINUSE) {
				closeAll(again)
				t.Errorf("%s: a second one on the port: %v", c.address, err)
			}
		}
		closeAll(sockets)
		again, err := listenUDP(c.network, port, 2)
		closeAll(again)
		if err != nil {
			t.Errorf("%s: when they are closed: %v", c.address, err)
		}
	}
}
