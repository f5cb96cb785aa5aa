package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nearcast/internal/config"
)

// recordsOf are the lines for a configuration, in a directory with a fleet's secret.
func recordsOf(t *testing.T, now time.Time, text string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for file, data := range map[string]string{"fleet.key": "correct horse battery staple, thirty-two octets\n", "config.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	err = writeHTTPSRecords(&b, cfg, now)
	return b.String(), err
}

const recordsHead = `version: 1
edge: { name: fra-1, region: fra }
regions: { fra: { location: [50, 8] } }
services:
  shop: { hosts: [Shop.example.com, "*.shop.example.com", 192.0.2.1, "[2001:db8::1]"], origins: { fra: ["http://10.0.0.1"] } }
  blog: { hosts: [blog.example.com, shop.example.com], paths: [/blog], origins: { fra: ["http://10.0.0.2"] } }
`

const recordsAnycast = `anycast:
  prefixes: [192.0.2.0/24, "2001:db8:53::/48"]
  addresses: [192.0.2.1, 192.0.2.2, "2001:db8:53::1"]
  bgp: { asn: 64500, router_id: 198.51.100.2, neighbors: [{ address: 198.51.100.1, asn: 64511, next_hop_ipv6: "2001:db8:1::2" }] }
`

const recordsTLS = `
  certificates: [{ cert_file: a.pem, key_file: a.key }]
`

func TestHTTPSRecords(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, config, want string }{
		{"the whole", strings.Replace(recordsHead, "services:", `services:
  all: { hosts: ["*"], origins: { fra: ["http://10.0.0.3"] } }`, 1) + recordsAnycast + `
fleet: { address: "198.51.100.2:9181", secret_file: fleet.key }
listen: [{ address: ":443", tls: true }, { address: ":80" }]
tls:
  ech: { public_name: edge.example.com }` + recordsTLS, `; ech: valid until 2026-12-17T00:00:00Z; print and publish the next from then on. Edges accept this one from 2026-10-22 to 2027-01-14.
blog.example.com. 3600 IN HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8:53::1 ech=AEf+DQBDjgAgACAaMEwnYcnuM+/MmJ2y4UeWRkQWN/chIp4XUwSERjS1bwAIAAEAAQABAANAEGVkZ2UuZXhhbXBsZS5jb20AAA==
shop.example.com. 3600 IN HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8:53::1 ech=AEf+DQBDjgAgACAaMEwnYcnuM+/MmJ2y4UeWRkQWN/chIp4XUwSERjS1bwAIAAEAAQABAANAEGVkZ2UuZXhhbXBsZS5jb20AAA==
*.shop.example.com. 3600 IN HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8:53::1 ech=AEf+DQBDjgAgACAaMEwnYcnuM+/MmJ2y4UeWRkQWN/chIp4XUwSERjS1bwAIAAEAAQABAANAEGVkZ2UuZXhhbXBsZS5jb20AAA==
edge.example.com. 3600 IN HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8:53::1 ech=AEf+DQBDjgAgACAaMEwnYcnuM+/MmJ2y4UeWRkQWN/chIp4XUwSERjS1bwAIAAEAAQABAANAEGVkZ2UuZXhhbXBsZS5jb20AAA==
; the service all has the host "*"; for each name that leads to it write
; NAME. 3600 IN HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8:53::1 ech=AEf+DQBDjgAgACAaMEwnYcnuM+/MmJ2y4UeWRkQWN/chIp4XUwSERjS1bwAIAAEAAQABAANAEGVkZ2UuZXhhbXBsZS5jb20AAA==
`},
		{"no ECH, another port, no HTTP/3", recordsHead + `
listen: [{ address: ":80" }, { address: ":8443", tls: true, http3: false }]
tls:` + recordsTLS, `blog.example.com. 3600 IN HTTPS 1 . alpn="h2" port=8443
shop.example.com. 3600 IN HTTPS 1 . alpn="h2" port=8443
*.shop.example.com. 3600 IN HTTPS 1 . alpn="h2" port=8443
`},
		{"443 goes first, and its addresses alone are hints; HTTP/3 is said where all of it serves that", recordsHead + recordsAnycast + `
listen: [{ address: ":8443", tls: true }, { address: "192.0.2.1:443", tls: true }, { address: "[2001:db8:53::1]:443", tls: true, http3: false }]
tls:` + recordsTLS, `blog.example.com. 3600 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.1 ipv6hint=2001:db8:53::1
shop.example.com. 3600 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.1 ipv6hint=2001:db8:53::1
*.shop.example.com. 3600 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.1 ipv6hint=2001:db8:53::1
`},
	} {
		got, err := recordsOf(t, now, c.config)
		if err != nil || got != c.want {
			t.Errorf("%s: error %v\n%swant\n%s", c.name, err, got, c.want)
		}
	}
	if _, err := recordsOf(t, now, recordsHead+`listen: [{ address: ":80" }]`); err == nil || !strings.Contains(err.Error(), "no listener has tls: true") {
		t.Errorf("without TLS: %v", err)
	}
}

// TestHTTPSRecordsCommand: what the command line makes of it.
func TestHTTPSRecordsCommand(t *testing.T) {
	file := writeConfig(t, good)
	if code, out, err := run("https-records", "-c", file); code != exitOK || !strings.Contains(out, "; NAME. 3600 IN HTTPS 1 . alpn=\"h2\" port=") {
		t.Errorf("code %d, %q, %q", code, out, err)
	}
	secret := strings.Replace(good, "version: 1", "version: 1\nfleet: {address: \"127.0.0.1:9181\", secret_file: missing.key}", 1)
	secret = strings.Replace(secret, "certificates:", "ech: { public_name: edge.example.com }, certificates:", 1)
	if code, _, err := run("https-records", "-c", writeConfig(t, secret)); code != exitConfig || !strings.Contains(err, "fleet.secret_file") {
		t.Errorf("without the secret: code %d, %q", code, err)
	}
}
