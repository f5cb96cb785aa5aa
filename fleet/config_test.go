package fleet

import (
	"strings"
	"testing"
	"time"
)

func TestConfigFaults(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change func(*Config)
		want   string // "" or the key and the beginning of the fault
	}{
		{"as it should be", func(*Config) {}, ""},
		{"IPv6", func(c *Config) { c.Address = "[2001:db8::2]:9181" }, ""},
		{"loopback, for a trial", func(c *Config) { c.Address = "127.0.0.2:9181" }, ""},
		{"no address", func(c *Config) { c.Address = "" }, "address: is missing; write host:port"},
		{"no port", func(c *Config) { c.Address = "198.51.100.2" }, "address: must be host:port"},
		{"port 0", func(c *Config) { c.Address = "198.51.100.2:0" }, "address: must have a port"},
		{"a name", func(c *Config) { c.Address = "fra.example:9181" }, "address: must have an IP address"},
		{"every address", func(c *Config) { c.Address = ":9181" }, "address: must name one address"},
		{"every address of a family", func(c *Config) { c.Address = "[::]:9181" }, "address: must name one address"},
		{"multicast", func(c *Config) { c.Address = "224.0.0.1:9181" }, "address: must have an address that the other regions reach"},
		{"a link's address", func(c *Config) { c.Address = "[fe80::1%eth0]:9181" }, "address: must have an address that the other regions reach"},
		{"no secret", func(c *Config) { c.SecretFile = "" }, "secret_file: is missing"},
		{"too often", func(c *Config) { c.Interval = 99 * time.Millisecond }, "interval: must be from 100ms"},
		{"too seldom", func(c *Config) { c.Interval = 11 * time.Second }, "interval: must be from 100ms"},
		{"no patience", func(c *Config) { c.Timeout = time.Millisecond }, "timeout: must be from 50ms"},
		{"silent before the answer is given up", func(c *Config) { c.Timeout = 2 * time.Second }, "timeout: must be at most silent_after, which is 1.5s"},
		{"patience on both", func(c *Config) { c.Timeout, c.SilentAfter = 2*time.Second, 5*time.Second }, ""},
		{"silent too soon", func(c *Config) { c.SilentAfter = time.Millisecond }, "silent_after: must be from 1s"},
		{"never silent", func(c *Config) { c.SilentAfter = time.Hour }, "silent_after: must be from 1s"},
		{"silent for one lost answer", func(c *Config) { c.Interval, c.SilentAfter = 2*time.Second, 3*time.Second }, "silent_after: must be at least twice"},
	} {
		c := testConfig()
		c.Address, c.SecretFile = "198.51.100.2:9181", "fleet.key"
		tt.change(c)
		var got []string
		c.Validate(func(key, fault string) { got = append(got, key+": "+fault) })
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

func TestSilentAfterFollowsTheInterval(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: time.Second, 500 * time.Millisecond: 1500 * time.Millisecond, 10 * time.Second: 30 * time.Second,
	} {
		if got := (&Config{Interval: interval}).Silence(); got != want {
			t.Errorf("interval %s: %s, want %s", interval, got, want)
		}
	}
	if got := (&Config{Interval: time.Second, SilentAfter: 5 * time.Second}).Silence(); got != 5*time.Second {
		t.Errorf("what is given is not taken: %s", got)
	}
}

func TestJitterIsATenth(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 10000 {
		d := jitter(time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 900*time.Millisecond || most > 1100*time.Millisecond || most-least < 150*time.Millisecond {
		t.Errorf("from %s to %s", least, most)
	}
}
