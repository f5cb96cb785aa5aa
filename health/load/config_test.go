package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

// faults are the keys that the parts of a configuration complain of.
func faults(c *Config) []string {
	var keys []string
	under := func(section string) func(key, fault string) {
		return func(key, fault string) { keys = append(keys, section+key) }
	}
	c.Validate(under(""))
	c.Recover.Validate(under("recover."))
	c.CPU.Validate(under("cpu."))
	c.SchedulingLatency.Validate(under("scheduling_latency."))
	return keys
}

func TestConfigFaults(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change func(*Config)
		want   []string
	}{
		{"the defaults are sound", func(*Config) {}, nil},
		{"a signal may be ignored", func(c *Config) { c.CPU, c.SchedulingLatency = Share{}, Latency{} }, nil},
		{"both thresholds may be one", func(c *Config) { c.CPU = Share{High: 1, Critical: 1} }, nil},
		{"all faults at once", func(c *Config) {
			c.Interval, c.Recover, c.CPU.High = 0, Recover{Below: 0, For: 2 * time.Hour}, 1.5
			c.SchedulingLatency = Latency{High: -1, Critical: -1, For: -1}
		}, []string{"interval", "recover.below", "recover.for", "cpu.high", "cpu.critical",
			"scheduling_latency.high", "scheduling_latency.critical", "scheduling_latency.for"}},
		{"no number", func(c *Config) { c.CPU.High, c.Recover.Below = math.NaN(), math.NaN() }, []string{"recover.below", "cpu.high"}},
		{"half ignored", func(c *Config) { c.CPU.High = 0 }, []string{"cpu.high"}},
		{"half ignored, the other way", func(c *Config) { c.CPU.Critical = 0 }, []string{"cpu.critical"}},
		{"upside down", func(c *Config) { c.SchedulingLatency.High = time.Second }, []string{"scheduling_latency.critical"}},
		{"a percentage", func(c *Config) { c.CPU.Critical = 98 }, []string{"cpu.critical"}},
	} {
		var c Config
		c.SetDefaults()
		tt.change(&c)
		if got := faults(&c); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}
