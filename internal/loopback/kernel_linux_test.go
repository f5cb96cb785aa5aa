package loopback

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/internal/lab/netns"
)

// namespace makes a network namespace of the test's own.
func namespace(t *testing.T, name string) netns.Namespace {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	n := netns.Namespace(fmt.Sprintf("addresses-%d-%s", os.Getpid(), name))
	if err := n.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// open opens addresses in a namespace; what it returns is closed with the test.
func open(t *testing.T, n netns.Namespace, log *logged, all ...netip.Addr) (a *Addresses) {
	t.Helper()
	err := n.Do(func() (err error) {
		a, err = Open(all, true, slog.New(slog.NewTextHandler(log, nil)), metrics.NewSet())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ip(t *testing.T, n netns.Namespace, commands ...string) {
	t.Helper()
	if err := n.IP(t.Context(), commands...); err != nil {
		t.Fatal(err)
	}
}

// onLoopback is what ip(8) shows of the loopback interface's addresses, without those of loopback itself.
func onLoopback(t *testing.T, n netns.Namespace) string {
	t.Helper()
	out, err := n.Command(t.Context(), "", "ip", "-o", "addr", "show", "dev", "lo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); f[3] != "127.0.0.1/8" && f[3] != "::1/128" {
			found = append(found, strings.ReplaceAll(strings.Join(f[3:], " "), `\`, ""))
		}
	}
	slices.Sort(found)
	return strings.Join(found, "\n")
}

func TestTheKernelGetsThemAsTheyShouldBe(t *testing.T) {
	n := namespace(t, "add")
	var log logged
	a := open(t, n, &log, v4, v6)
	prepare(t, a)
	got := onLoopback(t, n)
	for _, want := range []string{"192.0.2.1/32 scope host", "2001:db8:53::1/128 scope global nodad deprecated", "valid_lft forever"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "tentative") || strings.Contains(got, "dynamic") {
		t.Error(got)
	}
	for _, st := range a.Status() {
		if !st.Present || !st.Ours {
			t.Errorf("%+v", st)
		}
	}
	prepare(t, a) // again: nothing to do
	a.Remove()
	if got := onLoopback(t, n); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

// TestACrashLeavesThemAndTheNextProcessTakesThemOver: ownership is the kernel's to remember, in IFA_PROTO.
func TestACrashLeavesThemAndTheNextProcessTakesThemOver(t *testing.T) {
	n := namespace(t, "crash")
	ip(t, n, "addr add 192.0.2.7/32 dev lo", "addr add 2001:db8:53::7/128 dev lo nodad")
	operator4, operator6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8:53::7")
	var log logged
	killed := open(t, n, &log, v4, v6, operator4, operator6)
	prepare(t, killed)
	killed.host.close() // and no more is heard of it

	next := open(t, n, &log, v4, v6, operator4, operator6)
	prepare(t, next)
	for i, st := range next.Status() {
		if !st.Present || st.Ours != (i < 2) {
			t.Errorf("%+v", st)
		}
	}
	if log.count("taken over") != 2 || log.count("put by somebody else") != 4 {
		t.Errorf("the log:\n%s", log.b.String())
	}
	next.Remove()
	if got := onLoopback(t, n); strings.Contains(got, "192.0.2.1/") || strings.Contains(got, "2001:db8:53::1/") ||
		!strings.Contains(got, "192.0.2.7/32") || !strings.Contains(got, "2001:db8:53::7/128") {
		t.Errorf("left:\n%s", got)
	}
}

// TestTheKernelReportsARemoval: a look follows each report, and none is missed.
func TestTheKernelReportsARemoval(t *testing.T) {
	n := namespace(t, "watch")
	var log logged
	a := open(t, n, &log, v4, v6)
	defer a.host.close()
	prepare(t, a)
	changed, stop := a.host.watch()
	defer stop()
	for _, addr := range []netip.Addr{v4, v6} {
		for drained := false; !drained; {
			select {
			case <-changed:
			default:
				drained = true
			}
		}
		ip(t, n, "addr del "+addr.String()+" dev lo")
		<-changed
		for !a.Status()[slices.Index(a.all, addr)].Present || !strings.Contains(onLoopback(t, n), addr.String()) {
			a.look()
		}
		if st := a.Status()[slices.Index(a.all, addr)]; st.Repairs != 1 || !st.Ours {
			t.Errorf("%+v", st)
		}
	}
}

// TestAnAddressWithoutAnInterfaceIsLocal: a route of type local for the whole prefix is as good.
func TestAnAddressWithoutAnInterfaceIsLocal(t *testing.T) {
	n := namespace(t, "anyip")
	var log logged
	a := open(t, n, &log, v4, v6)
	defer a.host.close()
	local := func() (out [2]bool) {
		for i, addr := range a.all {
			here, err := a.host.local(addr)
			if err != nil {
				t.Error(err)
			}
			out[i] = here
		}
		return out
	}
	if local() != [2]bool{} {
		t.Error("local without anything")
	}
	ip(t, n, "route add unreachable 192.0.2.0/24", "route add blackhole 2001:db8:53::/48")
	if local() != [2]bool{} {
		t.Error("local though unreachable")
	}
	ip(t, n, "route add local 192.0.2.0/24 dev lo table local", "route add local 2001:db8:53::/48 dev lo table local")
	if local() != [2]bool{true, true} {
		t.Errorf("not local: %v", local())
	}
}

func TestAHostWithoutIPv6SaysSo(t *testing.T) {
	n := namespace(t, "no6")
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/lo/disable_ipv6": "1"}); err != nil {
		t.Fatal(err)
	}
	var log logged
	a := open(t, n, &log, v4, v6)
	defer a.Undo()
	if err := a.Prepare(); err == nil || !strings.Contains(err.Error(), "anycast.addresses[1] 2001:db8:53::1: the loopback interface has no IPv6") {
		t.Error(err)
	}
}

// TestTheyAreNeverTheSourceOfOurConnections: answers to them would go to the nearest region.
func TestTheyAreNeverTheSourceOfOurConnections(t *testing.T) {
	n := namespace(t, "source")
	// A host as in a routed fabric: its own address is on the loopback interface, and the links have none.
	var log logged
	a := open(t, n, &log, v4, v6)
	defer a.Remove()
	prepare(t, a)
	ip(t, n, "link add up0 type veth peer name down0", "link set up0 up", "link set down0 up",
		"addr add 198.51.100.5/32 dev lo", "addr add 2001:db8:1::5/128 dev lo nodad",
		"route add 0.0.0.0/0 via inet6 fe80::1 dev up0", "route add ::/0 via fe80::1 dev up0")
	for to, want := range map[string]string{"192.0.2.129": "src 198.51.100.5", "2001:db8:53:ffff::9": "src 2001:db8:1::5"} {
		out, err := n.Command(t.Context(), "", "ip", "route", "get", to)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("to %s: %s %v, want %s", to, out, err, want)
		}
	}
}

func TestInterfacesTowardNeighbors(t *testing.T) {
	n := namespace(t, "toward")
	ip(t, n, "link add up0 type veth peer name down0", "link set up0 up", "link set down0 up", "addr add 198.51.100.2/30 dev up0", "addr add 2001:db8:1::2/64 dev up0 nodad")
	var got []string
	err := n.Do(func() error {
		got = Interfaces([]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("fe80::1%down0"),
			netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("127.0.0.1")})
		return nil
	})
	if want := []string{"up0", "up0", "down0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, want %q; %v", got, want, err)
	}
}
