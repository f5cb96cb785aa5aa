package loopback

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Finding is a setting of the host that breaks anycast, and what to set instead.
type Finding struct {
	Level slog.Level
	Text  string
}

// CheckHost looks at what is below sysctl, which is /proc/sys. toward are the interfaces by which the neighbors are reached; ipv4 says
// that there are IPv4 prefixes. What cannot be read is not complained of.
func CheckHost(sysctl fs.FS, toward []string, ipv4 bool) []Finding {
	var out []Finding
	if ipv4 {
		out = append(out, checkReversePath(sysctl, toward)...)
	}
	if v, ok := number(sysctl, "net/ipv4/tcp_mtu_probing"); ok && v == 0 {
		out = append(out, Finding{slog.LevelInfo, "net.ipv4.tcp_mtu_probing is 0: the ICMP message that a packet is too big comes from a router " +
			"on the way, and may reach another edge than the one that sent the packet, so that a connection over a tunnel stalls for good; " +
			"set it to 1 (RFC 4821, both families), or give the routes to clients a smaller MTU"})
	}
	return out
}

// checkReversePath finds the strict reverse path filter (RFC 3704 §2.2), which drops a client's packets that come in by another
// interface than the one by which its answers go. The greater of an interface's number and all's counts; 2, which is loose, beats 1.
func checkReversePath(sysctl fs.FS, toward []string) (out []Finding) {
	toward = slices.Compact(slices.Sorted(slices.Values(toward)))
	if len(toward) < 2 {
		return nil // all comes in and goes out by one
	}
	all, _ := number(sysctl, "net/ipv4/conf/all/rp_filter")
	for _, name := range toward {
		own, ok := number(sysctl, "net/ipv4/conf/"+name+"/rp_filter")
		if ok && max(all, own) == 1 {
			out = append(out, Finding{slog.LevelWarn, fmt.Sprintf("the reverse path filter of %s is strict, and the neighbors are reached by several interfaces (%s): "+
				"a client's packets that come in by another one than its answers go are dropped; set net.ipv4.conf.%s.rp_filter=2",
				name, strings.Join(toward, ", "), strings.ReplaceAll(name, ".", "/"))})
		}
	}
	return out
}

// number reads one setting.
func number(sysctl fs.FS, path string) (int, bool) {
	b, err := fs.ReadFile(sysctl, path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// Interfaces names the interfaces by which packets to the addresses leave this machine. An address without a route has none.
func Interfaces(to []netip.Addr) (names []string) {
	h, err := openHost()
	if err != nil {
		return nil
	}
	defer h.close()
	for _, a := range to {
		name := a.Zone()
		if name == "" {
			name = h.toward(a)
		}
		if name != "" && name != "lo" {
			names = append(names, name)
		}
	}
	return names
}
