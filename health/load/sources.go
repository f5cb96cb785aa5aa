package load

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"time"
)

// Queue is how many wait in a queue, and how many may.
type Queue struct {
	Name           string
	Waiting, Limit int
}

// AcceptQueues makes a Source of queues: the fullest counts.
type AcceptQueues func() ([]Queue, error)

// Sample implements Source.
func (f AcceptQueues) Sample(time.Time) (Reading, error) {
	queues, err := f()
	if err != nil {
		return Reading{}, err
	}
	fullest, known := Reading{}, false
	for _, q := range queues {
		if q.Limit <= 0 {
			continue
		}
		if v := float64(q.Waiting) / float64(q.Limit); !known || v > fullest.Value {
			fullest, known = Reading{v, fmt.Sprintf("%s: %d of %d", q.Name, q.Waiting, q.Limit)}, true
		}
	}
	if !known {
		return Reading{}, ErrNoLimit
	}
	return fullest, nil
}

// Limited makes a Source of something that there is a number of, and a limit to; a limit of 0 is none.
type Limited func() (n, limit int64)

// Sample implements Source.
func (f Limited) Sample(time.Time) (Reading, error) {
	n, limit := f()
	if limit <= 0 {
		return Reading{}, ErrNoLimit
	}
	return Reading{float64(n) / float64(limit), fmt.Sprintf("%d of %d", n, limit)}, nil
}

// System are the sources that the system and the runtime answer: CPU, CPUPressure, Memory, Descriptors and SchedulingLatency. The process's
// cgroup is looked for once.
func System() Sources { return systemBelow("") }

// systemBelow is System with all files below a directory.
func systemBelow(root string) Sources {
	dirs, _ := cgroups(root) // without one, the machine's limits are all there are
	c := &cpu{stat: file{path: root + "/proc/stat"}, used: processTime, processors: runtime.NumCPU()}
	m := &memory{runtime: heldByRuntime, statm: file{path: root + "/proc/self/statm"}, meminfo: file{path: root + "/proc/meminfo"},
		pageSize: uint64(os.Getpagesize())}
	p := &pressure{}
	for i, dir := range dirs {
		name := dir[len(root):]
		at := func(of string) file { return file{path: path.Join(dir, of)} }
		c.groups = append(c.groups, &groupCPU{name: name, quota: at("cpu.max"), stat: at("cpu.stat")})
		m.groups = append(m.groups, &groupMemory{name: name, limit: at("memory.max"), usage: at("memory.current"), stat: at("memory.stat")})
		if i == 0 {
			p.files = append(p.files, &file{path: path.Join(dir, "cpu.pressure")})
		}
	}
	p.files = append(p.files, &file{path: root + "/proc/pressure/cpu"})
	return Sources{
		CPU: c, CPUPressure: p, Memory: m,
		Descriptors:       &descriptors{count: func() (uint64, error) { return countFiles(root + "/proc/self/fd") }, limit: descriptorLimit},
		SchedulingLatency: &scheduling{read: schedulingLatencies},
	}
}
