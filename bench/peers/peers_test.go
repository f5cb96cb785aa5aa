package peers

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nearcast/internal/config"
)

var update = flag.Bool("update", false, "write the golden files")

func site(w Work) Site {
	return Site{Dir: "/room/dir", Files: "/room/www", Plain: 8100, TLS: 8101, Origin: netip.MustParseAddrPort("127.0.0.1:8102"),
		CertFile: "/room/cert.pem", KeyFile: "/room/key.pem", BothFile: "/room/both.pem", Work: w}
}

// golden holds got against a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what was rendered; go test ./bench/peers -update writes it anew:\n%s", file, got)
	}
}

func TestConfigurations(t *testing.T) {
	for _, p := range All() {
		works := []Work{p.Hits}
		if p.Proxies {
			works = append(works, Proxied)
		}
		for _, w := range works {
			files, err := p.Render(site(w))
			if err != nil {
				t.Errorf("%s: %v", p.Name, err)
				continue
			}
			args, env := p.Command("/bin/"+p.Program, site(w))
			text := "$ " + strings.Join(append(env, args...), " ") + "\n"
			for _, f := range files {
				text += "\n--- " + f.Name + "\n" + f.Text
			}
			golden(t, p.Name+"-"+string(w)+".txt", text)
		}
	}
}

// What is measured of nearcast is a configuration that it accepts, with nothing in it that it only would accept.
func TestOwnConfigurationIsValid(t *testing.T) {
	p, err := Get(Ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []Work{Cached, Proxied} {
		s := site(w)
		s.Dir = t.TempDir()
		if err := p.Write(s); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(filepath.Join(s.Dir, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if cached := cfg.Services["bench"].Cache.Enabled; cached != (w == Cached) {
			t.Errorf("%s: the cache is on: %v", w, cached)
		}
		if cfg.Log.Access != "off" || cfg.Anycast != nil {
			t.Errorf("%s: it logs to %q, announces %v", w, cfg.Log.Access, cfg.Anycast)
		}
	}
}

func TestWhoDoesWhat(t *testing.T) {
	for _, c := range []struct {
		peer string
		work Work
		over Protocol
		does bool
	}{
		{Ours, Cached, HTTP3, true},
		{Ours, Proxied, HTTP1, true},
		{Ours, Files, HTTP1, false},
		{"nginx", Cached, HTTP2, true},
		{"nginx", Cached, HTTP3, false}, // Debian's has no QUIC
		{"varnish", Proxied, HTTP1, false},
		{"caddy", Files, HTTP3, true},
		{"caddy", Cached, HTTP3, false},
	} {
		p, err := Get(c.peer)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Does(c.work, c.over); got != c.does {
			t.Errorf("%s does %s over %s: %v", c.peer, c.work, c.over, got)
		}
	}
	if _, err := Get("apache"); err == nil || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("an unknown peer: %v", err)
	}
}

func TestPortsAreTheirOwn(t *testing.T) {
	taken := map[int]string{}
	for _, p := range All() {
		plain, tls, origin := p.Ports()
		for _, port := range []int{plain, tls, origin} {
			if other := taken[port]; other != "" {
				t.Errorf("%s and %s share port %d", p.Name, other, port)
			}
			taken[port] = p.Name
		}
	}
}

func TestVersionLine(t *testing.T) {
	for out, want := range map[string]string{
		"nginx version: nginx/1.22.1\n": "nginx/1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: x\n":                                  "HAProxy version 2.6.12-1+deb12u4 2026/10/17",
		"varnishd (varnish-7.1.1 revision 7cee1c581bead20e88d101ab3d72afb29f14d87a)\nCopyright (c) 2006\n":                 "varnish-7.1.1",
		"Traffic Server 9.2.9 Apr  4 2026 14:52:39 localhost\ntraffic_server: using root directory '/usr'\nApache Traffic": "Traffic Server 9.2.9 Apr  4 2026 14:52:39 localhost",
		"traffic_server: using root directory '/usr1'\nTraffic Server 9\n":                                                 "Traffic Server 9",
		"h2o version 2.2.5\nOpenSSL: OpenSSL 3.0.19 27 Jan 2026\n":                                                         "h2o version 2.2.5",
		"": "unknown",
	} {
		if got := versionLine(out); got != want {
			t.Errorf("%q: %q, want %q", out, got, want)
		}
	}
}

func TestFindTakesWhatWasBuilt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NEARCAST_BENCH_CACHE", dir)
	t.Setenv("PATH", "")
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := Peer{Name: "some", Program: "some-server-that-nobody-has"}
	if _, err := p.Find(); err == nil || !strings.Contains(err.Error(), "make bench-setup") {
		t.Errorf("what is not there: %v", err)
	}
	program := filepath.Join(dir, "bin", p.Program)
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 'some 1.2'\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := p.Find(); err != nil || found != program {
		t.Errorf("%q, %v", found, err)
	}
	p.version = []string{"-v"}
	if v, err := p.Version(t.Context()); err != nil || v != "some 1.2" {
		t.Errorf("version %q, %v", v, err)
	}
	self, err := Peer{Name: Ours}.Find()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := goVersion(self); err != nil || !strings.Contains(v, "go1.") {
		t.Errorf("version of a Go program: %q, %v", v, err)
	}
}
