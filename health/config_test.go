package health

import (
	"slices"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		why    string
		change func(*Config)
		want   []string
	}{
		{"the defaults", func(*Config) {}, nil},
		{"a path with a query", func(c *Config) { c.Path = "/healthz?deep=1" }, nil},
		{"a host with a port", func(c *Config) { c.Host = "shop.example:8080" }, nil},
		{"no slash", func(c *Config) { c.Path = "healthz" }, []string{"path"}},
		{"a second request in the path", func(c *Config) { c.Path = "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /" }, []string{"path"}},
		{"a second field in the host", func(c *Config) { c.Host = "x\r\nX-Evil: y" }, []string{"host"}},
		{"a URL for the host", func(c *Config) { c.Host = "http://shop.example/" }, []string{"host"}},
		{"a fragment", func(c *Config) { c.Path = "/#top" }, []string{"path"}},
		{"counts beyond reach", func(c *Config) { c.Rise, c.Fall = 1<<40, 1001 }, []string{"rise", "fall"}},
		{"too often", func(c *Config) { c.Interval, c.Timeout = 50*time.Millisecond, 10*time.Millisecond }, []string{"interval"}},
		{"slower than the interval", func(c *Config) { c.Timeout = 2 * time.Second }, []string{"timeout"}},
		{"no time at all", func(c *Config) { c.Timeout = 0 }, []string{"timeout"}},
		{"no hysteresis is 1, not 0", func(c *Config) { c.Rise, c.Fall = 0, 0 }, []string{"rise", "fall"}},
	}
	for _, tt := range tests {
		var c Config
		c.SetDefaults()
		tt.change(&c)
		var keys []string
		c.Validate(func(key, fault string) { keys = append(keys, key) })
		if !slices.Equal(keys, tt.want) {
			t.Errorf("%s: reported %q, want %q", tt.why, keys, tt.want)
		}
	}
}

func TestTargetWithoutConfigHasTheDefaults(t *testing.T) {
	tests := []struct {
		in, want Config
	}{
		{Config{}, Config{Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3}},
		{Config{Interval: 100 * time.Millisecond}, Config{Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond, Rise: 2, Fall: 3}},
		{Config{Timeout: time.Second, Rise: 1, Fall: 1}, Config{Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 1}},
	}
	for _, tt := range tests {
		target := Target{Config: tt.in}
		if got := target.normal(); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.in, got, tt.want)
		}
	}
}
