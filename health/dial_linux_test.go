package health

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// swallowing is a listener on addr whose queue is full: attempts to connect get no answer.
func swallowing(t *testing.T, addr string) net.Addr {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := (&net.Dialer{Timeout: 300 * time.Millisecond}).DialContext(t.Context(), "tcp4", l.Addr().String())
		if err != nil {
			return l.Addr()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel's queue of connections does not fill up")
	return nil
}

func TestADeadAddressDoesNotHideTheOthers(t *testing.T) {
	dead := swallowing(t, "127.0.0.3:0")
	_, port, _ := net.SplitHostPort(dead.String())
	alive, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", net.JoinHostPort("127.0.0.4", port))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	c, rtt, err := dialFirst(ctx, []netip.Addr{netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4")}, port)
	if err != nil {
		t.Fatalf("the origin has a living address, and yet: %v", err)
	}
	defer c.Close()
	if rtt <= 0 || rtt > 1900*time.Millisecond {
		t.Errorf("round-trip time %s, which has the wait for the dead address in it", rtt)
	}
}
