package cache

import (
	"strings"
	"testing"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512": 512, "64KiB": 64 << 10, "256MiB": 256 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "3073KiB": 3073 << 10} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		if s.String() != text {
			t.Errorf("%s is written as %s", text, s)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5GiB", "64MB", "64 MiB", "99999999999TiB", "9223372036854775808"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, s)
		}
	}
}

func TestConfigValidates(t *testing.T) {
	faults := func(validate func(func(key, fault string))) string {
		var keys []string
		validate(func(key, fault string) { keys = append(keys, key) })
		return strings.Join(keys, " ")
	}
	var c Config
	c.SetDefaults()
	if got := faults(c.Validate); got != "" {
		t.Errorf("the defaults: %s", got)
	}
	c = Config{Memory: 1, MaxObject: 2}
	if got := faults(c.Validate); got != "memory max_object" {
		t.Errorf("%s", got)
	}
	p := on()
	if got := faults(p.Validate); got != "" || !p.Enabled || p.CacheStatus != StatusOn {
		t.Errorf("the defaults: %s", got)
	}
	p = &Policy{DefaultTTL: -1, StaleIfError: -1, StaleOnDisconnect: -1, SetCookie: "Store", RequestDirectives: "honor", TargetedFields: []string{"a b"}}
	if got := faults(p.Validate); got != "default_ttl stale_if_error stale_on_disconnect set_cookie request_directives targeted_fields" {
		t.Errorf("%s", got)
	}
	for _, names := range [][]string{{""}, {"a", "A"}, {"Cache-Control"}, strings.Split("abcdefghi", "")} {
		p = on()
		p.TargetedFields = names
		if got := faults(p.Validate); got != "targeted_fields" {
			t.Errorf("%q: %s", names, got)
		}
	}
}
