package netns

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSetAndDeleteRoute(t *testing.T) {
	n := fresh(t, "setroute")
	err := n.IP(t.Context(), "link add up0 type veth peer name down0", "link set up0 up", "link set down0 up", "addr add 10.9.0.1/24 dev up0", "addr add fd00:9::1/64 dev up0 nodad")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, first, then string }{
		{"192.0.2.1/32", "10.9.0.2", "10.9.0.3"},
		{"2001:db8:53::1/128", "fd00:9::2", "fd00:9::3"},
	} {
		to := netip.MustParsePrefix(c.to)
		held := func() string {
			t.Helper()
			out, err := n.Command(t.Context(), "", "ip", "route", "show", c.to)
			if to.Addr().Is6() {
				out, err = n.Command(t.Context(), "", "ip", "-6", "route", "show", c.to)
			}
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(out)
		}
		for _, via := range []string{c.first, c.then, c.then} {
			if err := n.SetRoute(to, netip.MustParseAddr(via)); err != nil {
				t.Fatal(err)
			}
			if got := held(); !strings.Contains(got, "via "+via+" ") || strings.Contains(got, "\n") {
				t.Errorf("after %s via %s: %q", c.to, via, got)
			}
		}
		for range 2 {
			if err := n.DeleteRoute(to); err != nil {
				t.Error(err)
			}
			if got := held(); got != "" {
				t.Errorf("removed, and there is %q", got)
			}
		}
	}
	if err := n.SetRoute(netip.MustParsePrefix("192.0.2.1/32"), netip.MustParseAddr("198.51.100.1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("a next hop that nothing leads to: %v", err)
	}
}

// A flow whose port is translated gets another port once it is forgotten.
func TestForgetFlowsBeginsTranslationsAnew(t *testing.T) {
	n := fresh(t, "forget")
	rules := "table inet t {\nchain out { type nat hook postrouting priority srcnat; udp dport 443 masquerade fully-random\n}\n}\n"
	if _, err := n.Command(t.Context(), rules, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if err := n.IP(t.Context(), "addr add 10.9.0.1/32 dev lo"); err != nil { // a translation needs an address that is not the host's alone
		t.Fatal(err)
	}
	server, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1), Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := n.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	seen := map[string]bool{}
	port := func() string {
		t.Helper()
		if _, err := client.WriteTo([]byte{1}, server.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		_, from, err := server.ReadFrom(make([]byte, 8))
		if err != nil {
			t.Fatal(err)
		}
		seen[from.String()] = true
		return from.String()
	}
	if first := port(); first != port() {
		t.Error("a flow that is known has changed its port")
	}
	for range 4 { // one may get its port again by chance
		if err := n.ForgetFlows(); err != nil {
			t.Fatal(err)
		}
		port()
	}
	if len(seen) < 3 {
		t.Errorf("ports: %v", seen)
	}
}

func TestAcknowledgement(t *testing.T) {
	reply := message(unix.NLMSG_ERROR, 0, []byte{0, 0, 0, 0})
	if err := acknowledgement(reply); err != nil {
		t.Error(err)
	}
	if acknowledgement(reply[:10]) == nil || acknowledgement(message(unix.RTM_NEWROUTE, 0, make([]byte, 4))) == nil {
		t.Error("taken for an acknowledgement")
	}
}
