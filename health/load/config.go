package load

import "time"

// Config says when this edge counts as overloaded, and whether it then refuses work.
type Config struct {
	// Interval is the time between two samples. Default 1s, from 100ms to 1m.
	Interval time.Duration `yaml:"interval"`
	// Shed says whether a part of the requests that must go to an origin is refused with 503 while the level is high or critical. Default true;
	// with false the level only counts for the announcement.
	Shed bool `yaml:"shed"`
	// Recover is when a level is over.
	Recover Recover `yaml:"recover"`

	// AcceptQueue is the fullest listener's queue of connections that wait to be accepted, as a share of its limit. Default 0.5, 0.9, at once.
	AcceptQueue Share `yaml:"accept_queue"`
	// CPU is what is in use of the processors that this process may use: of its cgroup's quota, or of the machine, but no more
	// than four times this process's own use: what others use up is not made less by refusing work. Work of a lower priority (nice) counts as idle. Default 0.9, 0.98, for 5s.
	CPU Share `yaml:"cpu"`
	// CPUPressure is the share of time in which some task waited for a processor, over 10 s (PSI, "some avg10"), of this process's cgroup, else
	// of the machine. Default 0: ignored, since work of a lower priority waits too.
	CPUPressure Share `yaml:"cpu_pressure"`
	// Memory is the largest of three: what the Go runtime can't free against GOMEMLIMIT, the cgroup's memory without what the
	// kernel can drop against memory.max, and this process's resident memory against that and MemAvailable together.
	// Default 0.85, 0.95, for 2s.
	Memory Share `yaml:"memory"`
	// Descriptors are the open file descriptors against RLIMIT_NOFILE. Default 0.8, 0.95, at once.
	Descriptors Share `yaml:"descriptors"`
	// Connections are the open client connections against limits.max_connections. Requests are not refused for it, since that closes none.
	// Default 0.8, 0.95, at once.
	Connections Share `yaml:"connections"`
	// SchedulingLatency is the time that goroutines which could run waited for a processor, the 99th percentile of the interval. Default 50ms,
	// 250ms, for 5s.
	SchedulingLatency Latency `yaml:"scheduling_latency"`
}

// Recover is when a level is over.
type Recover struct {
	// Below is the share of a threshold that the value must stay below. Default 0.9, from 0.1 to 1.
	Below float64 `yaml:"below"`
	// For is how long it must have, without a single value in between that is not. Default 10s, at most 1h.
	For time.Duration `yaml:"for"`
}

// Share are the thresholds of a signal that is a share of what there is, from 0 to 1. A signal whose thresholds are 0 is measured and
// shown, and never counts.
type Share struct {
	High     float64 `yaml:"high"`
	Critical float64 `yaml:"critical"`
	// For is how long the value must have been at a threshold or above, without a single one in between that was not; 0: at once. At most 1h.
	For time.Duration `yaml:"for"`
}

// Latency are the thresholds of a signal that is a time, as Share has them.
type Latency struct {
	High     time.Duration `yaml:"high"`
	Critical time.Duration `yaml:"critical"`
	For      time.Duration `yaml:"for"`
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	*c = Config{
		Interval: time.Second, Shed: true, Recover: Recover{Below: 0.9, For: 10 * time.Second},
		AcceptQueue:       Share{High: 0.5, Critical: 0.9},
		CPU:               Share{High: 0.9, Critical: 0.98, For: 5 * time.Second},
		CPUPressure:       Share{For: 5 * time.Second},
		Memory:            Share{High: 0.85, Critical: 0.95, For: 2 * time.Second},
		Descriptors:       Share{High: 0.8, Critical: 0.95},
		Connections:       Share{High: 0.8, Critical: 0.95},
		SchedulingLatency: Latency{High: 50 * time.Millisecond, Critical: 250 * time.Millisecond, For: 5 * time.Second},
	}
}

const (
	minInterval, maxInterval = 100 * time.Millisecond, time.Minute
	minBelow                 = 0.1
	maxFor                   = time.Hour // more is a slip, and would make a level last, or never come
)

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	if c.Interval < minInterval || c.Interval > maxInterval {
		report("interval", "must be from 100ms to 1m")
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (r *Recover) Validate(report func(key, fault string)) {
	if !(r.Below >= minBelow && r.Below <= 1) {
		report("below", "must be from 0.1 to 1, a share of the threshold")
	}
	validateFor(r.For, report)
}

// Validate calls report with the key and the fault of each value that can't be.
func (s *Share) Validate(report func(key, fault string)) {
	for _, v := range [...]struct {
		key   string
		value float64
	}{{"high", s.High}, {"critical", s.Critical}} {
		if !(v.value >= 0 && v.value <= 1) {
			report(v.key, "must be from 0 to 1, a share of what there is; 0 in both high and critical ignores the signal")
		}
	}
	validateOrder(s.High, s.Critical, report)
	validateFor(s.For, report)
}

// Validate calls report with the key and the fault of each value that can't be.
func (l *Latency) Validate(report func(key, fault string)) {
	if l.High < 0 {
		report("high", "must not be negative")
	}
	if l.Critical < 0 {
		report("critical", "must not be negative")
	}
	validateOrder(l.High.Seconds(), l.Critical.Seconds(), report)
	validateFor(l.For, report)
}

func validateOrder(high, critical float64, report func(key, fault string)) {
	if high <= 0 && critical > 0 {
		report("high", "must be more than 0 when critical is; write 0 in both to ignore the signal")
	}
	if high > critical {
		report("critical", "must be at least what high is; write 0 in both to ignore the signal")
	}
}

func validateFor(d time.Duration, report func(key, fault string)) {
	if d < 0 || d > maxFor {
		report("for", "must be from 0s to 1h")
	}
}

// thresholds are a signal's, in its own unit. Both are 0 for one that is ignored.
type thresholds struct {
	high, critical float64
	rise           time.Duration // how long above before a level begins
	leave          Recover
}

func (c *Config) share(s Share) thresholds {
	return thresholds{high: s.High, critical: s.Critical, rise: s.For, leave: c.Recover}
}

func (c *Config) latency(l Latency) thresholds {
	return thresholds{high: l.High.Seconds(), critical: l.Critical.Seconds(), rise: l.For, leave: c.Recover}
}

// of is the threshold of High or Critical.
func (t *thresholds) of(l Level) float64 {
	if l == High {
		return t.high
	}
	return t.critical
}
