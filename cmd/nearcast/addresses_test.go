package main

import (
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/health"
	"nearcast/internal/config"
)

// atServiceAddresses is an edge on :80, on the two addresses with TLS and HTTP/3, and on a loopback address.
const atServiceAddresses = `version: 1
edge: { name: fra-1, region: fra }
listen:
  - { address: ":80" }
  - { address: "192.0.2.1:443", tls: true }
  - { address: "[2001:db8:53::1]:443", tls: true }
  - { address: "127.0.0.1:8080" }
tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }
regions: { fra: { location: [50.11, 8.68] } }
services:
  shop: { hosts: ["*"], origins: { fra: ["http://127.0.0.1:9"] } }
admin: { address: "127.0.0.1:9180" }
shutdown: { pause: 0s, settle: 0s }
anycast:
  prefixes: [192.0.2.0/24, "2001:db8:53::/48"]
  addresses: [192.0.2.1, "2001:db8:53::1"]
  manage_addresses: true
  self_probe: { interval: 100ms, timeout: 100ms }
  bgp:
    asn: 64500
    router_id: 198.51.100.2
    neighbors: [{ address: 127.0.0.1, port: 9, asn: 64501, next_hop_ipv6: "2001:db8:1::2" }]
`

// TestEachListenerIsAskedAtEachServiceAddressThatItTakes, over each protocol, from a loopback address; the others as without any.
func TestEachListenerIsAskedAtEachServiceAddressThatItTakes(t *testing.T) {
	text := strings.NewReplacer(
		`":80"`, `":`+freePort(t)+`"`, `"192.0.2.1:443"`, `"0.0.0.0:`+freePort(t)+`"`, `"[2001:db8:53::1]:443"`, `"127.0.0.1:`+freePort(t)+`"`,
		`"127.0.0.1:8080"`, `"`+freeAddress(t)+`"`, `"127.0.0.1:9180"`, `"`+freeAddress(t)+`"`, "manage_addresses: true", "manage_addresses: false").Replace(atServiceAddresses)
	cfg, err := config.Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	e, err := build(cfg, std{io.Discard, io.Discard}, slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop("test", nil)
	var got []string
	for _, target := range e.selfTargets() {
		got = append(got, target.ID.String())
	}
	both, four, six, last := cfg.Listen[0].Address, cfg.Listen[1].Address, cfg.Listen[2].Address, cfg.Listen[3].Address
	want := []string{
		"listener " + both + " at 192.0.2.1 over h1", "listener " + both + " at 2001:db8:53::1 over h1",
		"listener " + both + " at 192.0.2.1 over h2", "listener " + both + " at 2001:db8:53::1 over h2",
		"listener " + four + " at 192.0.2.1 over h1", "listener " + four + " at 192.0.2.1 over h2", "listener " + four + " at 192.0.2.1 over h3",
		"listener " + six + " over h1", "listener " + six + " over h2", "listener " + six + " over h3",
		"listener " + last + " over h1", "listener " + last + " over h2",
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := strings.Count(log.String(), "this machine does not have the anycast address"); n != 2 {
		t.Errorf("%d warnings of addresses that are not here:\n%s", n, log.String())
	}
	if st := e.status(); len(st.Addresses) != 2 || st.Addresses[0].Present || st.Addresses[0].Address != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("status: %+v", st.Addresses)
	}
	if !slices.ContainsFunc(e.status().Listeners, func(l targetStatus) bool {
		return l.Name == four && l.Protocol == string(health.H3) && l.Address == "192.0.2.1"
	}) {
		t.Errorf("status: %+v", e.status().Listeners)
	}
}

func TestStatusNamesTheServiceAddress(t *testing.T) {
	st := statusView{Edge: "e", Listeners: []targetStatus{{Name: ":443", Protocol: "h2", Address: "192.0.2.1"}, {Name: ":80", Protocol: "h1"}}}
	var out strings.Builder
	if err := st.write(&out, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{":443 at 192.0.2.1  h2", ":80               "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, _ := strings.Cut(freeAddress(t), ":")
	return port
}
