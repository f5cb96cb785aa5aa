package load

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ownTimes: the machine's use of its processors counts up to so many times this process's own, which is all of it where this process causes a quarter or
// more. What others use up is not made less by refusing work, and shows in the scheduling latency and in accept queues.
const ownTimes = 4

// cpu reads the use of the processors.
type cpu struct {
	stat       file
	groups     []*groupCPU
	used       func() (time.Duration, error) // by this process since it started
	processors int

	at      time.Time // of the last sample
	own     time.Duration
	machine processorTime
}

// groupCPU are one cgroup's files.
type groupCPU struct {
	name        string
	quota, stat file
	usage       uint64 // microseconds
	known       bool   // usage is that of the last sample
}

var errFirst = errors.New("not yet known")

// Sample implements Source. The first one is where the next counts from.
func (c *cpu) Sample(now time.Time) (Reading, error) {
	took := now.Sub(c.at)
	first := c.at.IsZero() || took <= 0
	c.at = now
	own, err := c.used()
	var u usage
	u.own = float64(own-c.own) / float64(took) / float64(c.processors)
	c.own = own
	if err != nil {
		return Reading{}, err
	}
	u.machine = c.machineUse()
	for _, g := range c.groups {
		if v := g.use(took); v > u.group {
			u.group, u.groupName = v, g.name
		}
	}
	if first {
		return Reading{}, errFirst
	}
	return u.reading(), nil
}

// Close implements io.Closer.
func (c *cpu) Close() error {
	c.stat.close()
	for _, g := range c.groups {
		g.quota.close()
		g.stat.close()
	}
	return nil
}

// machineUse is the share of the machine's processors that was in use since the last sample, 0 when it is not known.
func (c *cpu) machineUse() float64 {
	b, err := c.stat.read()
	if err != nil {
		return 0
	}
	t, err := parseStat(b)
	before := c.machine
	if c.machine = t; err != nil || before.total == 0 || t.total <= before.total || t.busy < before.busy {
		return 0
	}
	return float64(t.busy-before.busy) / float64(t.total-before.total)
}

// use is the share of its quota that the cgroup has used, 0 when it has none or is not known.
func (g *groupCPU) use(took time.Duration) float64 {
	quota, usage, err := g.read()
	before, known := g.usage, g.known
	if g.usage, g.known = usage, err == nil; err != nil || !known || quota == 0 || usage < before || took <= 0 {
		return 0
	}
	return float64(usage-before) / (quota * float64(took.Microseconds()))
}

func (g *groupCPU) read() (quota float64, usage uint64, err error) {
	b, err := g.quota.read()
	if errors.Is(err, fs.ErrNotExist) { // the root has none
		return 0, 0, err
	}
	if err == nil {
		quota, err = parseQuota(b)
	}
	if err != nil {
		return 0, 0, err
	}
	if b, err = g.stat.read(); err != nil {
		return 0, 0, err
	}
	usage, err = parseKeyed(b, "cpu.stat", "usage_usec")
	return quota, usage, err
}

// usage is what was used of the processors, each as a share of what there was.
type usage struct {
	own       float64 // this process, of the machine
	machine   float64 // everything, of the machine
	group     float64 // the cgroup that is nearest to its quota
	groupName string
}

// reading is what counts. It is pure.
func (u usage) reading() Reading {
	r := Reading{Value: max(u.own, min(u.machine, ownTimes*u.own), u.group), Detail: fmt.Sprintf("own %.2f", u.own)}
	if u.machine > 0 {
		r.Detail += fmt.Sprintf(", machine %.2f", u.machine)
	}
	if u.group > 0 {
		r.Detail += fmt.Sprintf(", of the quota of cgroup %s %.2f", u.groupName, u.group)
	}
	return r
}

// pressure reads pressure stall information: the cgroup's own, else the machine's.
type pressure struct{ files []*file }

// Sample implements Source.
func (p *pressure) Sample(time.Time) (Reading, error) {
	var errs []error
	for _, f := range p.files {
		b, err := f.read()
		if err == nil {
			var v float64
			if v, err = parsePressure(b); err == nil {
				return Reading{Value: v, Detail: f.path}, nil
			}
		}
		errs = append(errs, err)
	}
	return Reading{}, errors.Join(errs...)
}

// Close implements io.Closer.
func (p *pressure) Close() error {
	for _, f := range p.files {
		f.close()
	}
	return nil
}
