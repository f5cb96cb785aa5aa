package loopback

import (
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
)

func sysctl(values ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for i := 0; i < len(values); i += 2 {
		fs[values[i]] = &fstest.MapFile{Data: []byte(values[i+1] + "\n")}
	}
	return fs
}

func TestCheckHost(t *testing.T) {
	const all, a, b = "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/eth1/rp_filter"
	two, one := []string{"eth0", "eth1", "eth0"}, []string{"eth0", "eth0"}
	for _, c := range []struct {
		what   string
		sysctl fstest.MapFS
		toward []string
		ipv6   bool
		want   []string // how each finding goes, in part
	}{
		{"strict on one of two", sysctl(all, "0", a, "1", b, "0"), two, false, []string{"net.ipv4.conf.eth0.rp_filter=2"}},
		{"strict on all", sysctl(all, "1", a, "0", b, "0"), two, false, []string{"net.ipv4.conf.eth0.rp_filter=2", "net.ipv4.conf.eth1.rp_filter=2"}},
		{"loose beats strict", sysctl(all, "1", a, "2", b, "2"), two, false, nil},
		{"loose on all beats strict", sysctl(all, "2", a, "1", b, "1"), two, false, nil},
		{"one way in and out", sysctl(all, "1", a, "1"), one, false, nil},
		{"no IPv4", sysctl(all, "1", a, "1", b, "1"), two, true, nil},
		{"not Linux", sysctl(), two, false, nil},
		{"nonsense", sysctl(all, "x", a, "", b, "-1"), two, false, nil},
		{"an interface with a dot", sysctl(all, "1", "net/ipv4/conf/eth0.7/rp_filter", "0"), []string{"eth0.7", "eth1"}, false, []string{"net.ipv4.conf.eth0/7.rp_filter=2"}},
		{"no MTU probing", sysctl("net/ipv4/tcp_mtu_probing", "0"), nil, true, []string{"tcp_mtu_probing is 0"}},
		{"MTU probing", sysctl("net/ipv4/tcp_mtu_probing", "1"), nil, false, nil},
	} {
		got := CheckHost(c.sysctl, c.toward, !c.ipv6)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %q", c.what, got, c.want)
			continue
		}
		for i, f := range got {
			if !strings.Contains(f.Text, c.want[i]) || (f.Level == slog.LevelWarn) != strings.Contains(f.Text, "rp_filter") {
				t.Errorf("%s: %v, want %q", c.what, f, c.want[i])
			}
		}
	}
}
