package load

import (
	"fmt"
	"math"
	"runtime/metrics"
	"time"
)

// memory reads what is in use of the memory that this process may use.
type memory struct {
	runtime        func() (held, limit uint64) // limit is 0 without GOMEMLIMIT
	groups         []*groupMemory
	statm, meminfo file
	pageSize       uint64
}

// groupMemory are one cgroup's files.
type groupMemory struct {
	name               string
	limit, usage, stat file
}

// Sample implements Source: the worst of what is known counts.
func (m *memory) Sample(time.Time) (Reading, error) {
	worst, known := Reading{}, false
	count := func(used, limit uint64, of string) {
		if v := float64(used) / float64(limit); !known || v > worst.Value {
			worst = Reading{v, fmt.Sprintf("%d of %d MiB, %s", used>>20, limit>>20, of)}
		}
		known = true
	}
	if held, limit := m.runtime(); limit > 0 {
		count(held, limit, "GOMEMLIMIT")
	}
	for _, g := range m.groups {
		if used, limit, ok := g.read(); ok {
			count(used, limit, "memory.max of cgroup "+g.name)
		}
	}
	resident, available, err := m.machine()
	if err == nil && resident+available > 0 {
		count(resident, resident+available, "resident and MemAvailable")
	}
	if !known {
		return Reading{}, err
	}
	return worst, nil
}

// Close implements io.Closer.
func (m *memory) Close() error {
	m.statm.close()
	m.meminfo.close()
	for _, g := range m.groups {
		g.limit.close()
		g.usage.close()
		g.stat.close()
	}
	return nil
}

// machine are this process's resident memory and what may still be had of the machine's.
func (m *memory) machine() (resident, available uint64, err error) {
	b, err := m.statm.read()
	if err != nil {
		return 0, 0, err
	}
	pages, err := parseStatm(b)
	if err != nil {
		return 0, 0, err
	}
	if b, err = m.meminfo.read(); err != nil {
		return 0, 0, err
	}
	available, err = parseMeminfo(b)
	return pages * m.pageSize, available, err
}

// read is what the cgroup has in use without what the kernel can drop (clean copies of files, and its own caches), and its limit. ok is
// false when it has none, or it is not known.
func (g *groupMemory) read() (used, limit uint64, ok bool) {
	number := func(f *file, name string) (uint64, bool) {
		b, err := f.read()
		if err != nil {
			return 0, false
		}
		n, ok, err := parseBytes(b, name)
		return n, ok && err == nil
	}
	if limit, ok = number(&g.limit, "memory.max"); !ok || limit == 0 {
		return 0, 0, false
	}
	if used, ok = number(&g.usage, "memory.current"); !ok {
		return 0, 0, false
	}
	b, err := g.stat.read()
	if err != nil {
		return 0, 0, false
	}
	droppable, err := parseKeyed(b, "memory.stat", "active_file", "inactive_file", "slab_reclaimable")
	return used - min(used, droppable), limit, err == nil
}

// heldByRuntime is what the Go runtime can't give back, and its limit. What the collector has found alive counts, not what it may yet free: with
// a limit the heap grows up to it in the best of health.
func heldByRuntime() (held, limit uint64) {
	names := [...]string{"/gc/gomemlimit:bytes", "/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes",
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/free:bytes"}
	var samples [len(names)]metrics.Sample
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples[:])
	var v [len(names)]uint64
	for i := range samples {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0, 0
		}
		v[i] = samples[i].Value.Uint64()
	}
	if v[0] >= math.MaxInt64 {
		return 0, 0
	}
	return v[1] + v[2] - min(v[2], v[3]+v[4]+v[5]+v[6]), v[0]
}
