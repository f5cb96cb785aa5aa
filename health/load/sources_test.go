package load

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a directory with the files of a system.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) machine {
	m := machine{t, t.TempDir()}
	m.write("/proc/self/cgroup", "0::/edge/own\n")
	m.write("/proc/self/mountinfo", ownMount)
	return m
}

// write writes a file as the kernel does: what has it open sees the new content.
func (m machine) write(name, text string) {
	m.t.Helper()
	p := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// system are the sources of the machine; what they open is closed at the test's end.
func (m machine) system() Sources { return closing(m.t, systemBelow(m.root)) }

func closing(t *testing.T, s Sources) Sources {
	t.Cleanup(func() { New(Config{}, s, Options{}).close() })
	return s
}

func sample(t *testing.T, s Source, at time.Duration) Reading {
	t.Helper()
	r, err := s.Sample(time.Unix(1e9, 0).Add(at))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b float64) bool { return a > b-1e-9 && a < b+1e-9 }

func TestCPUIsWhatCountsOfTheUse(t *testing.T) {
	for _, tt := range []struct {
		why  string
		u    usage
		want float64
	}{
		{"a machine that this process fills", usage{own: 0.6, machine: 0.95}, 0.95},
		{"one that others fill", usage{own: 0.1, machine: 1}, 0.4},
		{"a quarter is enough", usage{own: 0.25, machine: 1}, 1},
		{"no more than there is", usage{own: 0.3, machine: 1}, 1},
		{"a quota", usage{own: 0.1, machine: 0.2, group: 0.97, groupName: "/x"}, 0.97},
		{"this process alone, where nothing else is known", usage{own: 0.4}, 0.4},
	} {
		if r := tt.u.reading(); r.Value != tt.want {
			t.Errorf("%s: %v (%s), want %v", tt.why, r.Value, r.Detail, tt.want)
		}
	}
}

func TestCPUCountsBetweenSamples(t *testing.T) {
	m := newMachine(t)
	m.write("/proc/stat", "cpu  100 0 0 900 0 0 0 0 0 0\n")
	const own, outer = "/sys/fs/cgroup/edge/own", "/sys/fs/cgroup/edge"
	m.write(own+"/cpu.max", "max 100000\n")
	m.write(own+"/cpu.stat", "usage_usec 1000000\n")
	m.write(outer+"/cpu.max", "150000 100000\n")
	m.write(outer+"/cpu.stat", "usage_usec 1000000\nuser_usec 5\n")
	c := m.system()[CPU].(*cpu)
	used := time.Second
	c.used, c.processors = func() (time.Duration, error) { return used, nil }, 4
	if _, err := c.Sample(time.Unix(1e9, 0)); !errors.Is(err, errFirst) {
		t.Errorf("the first sample: %v", err)
	}
	used += 800 * time.Millisecond // of 4 processors in a second: a fifth
	m.write("/proc/stat", "cpu  160 0 0 940 0 0 0 0 0 0\n")
	if r := sample(t, c, time.Second); !near(r.Value, 0.6) || !strings.Contains(r.Detail, "own 0.20, machine 0.60") {
		t.Errorf("%+v", r)
	}
	m.write(outer+"/cpu.stat", "usage_usec 2200000\n") // 1.2 s in a second, of 1.5
	if r := sample(t, c, 2*time.Second); !near(r.Value, 0.8) || !strings.Contains(r.Detail, "/sys/fs/cgroup/edge 0.80") || strings.Contains(r.Detail, m.root) {
		t.Errorf("the quota of an outer cgroup: %+v", r)
	}
	m.write("/proc/stat", "cpu what\n")
	m.write(outer+"/cpu.max", "soon\n")
	used += 400 * time.Millisecond
	if r := sample(t, c, 3*time.Second); !near(r.Value, 0.1) {
		t.Errorf("with files that make no sense: %+v", r)
	}
	m.write("/proc/stat", "cpu  170 0 0 1030 0 0 0 0 0 0\n")
	if r := sample(t, c, 4*time.Second); r.Value != 0 {
		t.Errorf("the first sense after that was taken for a difference: %+v", r)
	}
	c.used = func() (time.Duration, error) { return 0, errors.ErrUnsupported }
	if _, err := c.Sample(time.Unix(1e9+5, 0)); err == nil {
		t.Error("nothing is known, and it was told")
	}
}

func TestPressureIsTheCgroupsOwnElseTheMachines(t *testing.T) {
	m := newMachine(t)
	m.write("/proc/pressure/cpu", psiText)
	p := m.system()[CPUPressure]
	if r := sample(t, p, 0); r.Value != 0.125 {
		t.Errorf("the machine's: %+v", r)
	}
	m.write("/sys/fs/cgroup/edge/own/cpu.pressure", strings.Replace(psiText, "12.50", "50.00", 1))
	if r := sample(t, p, 0); r.Value != 0.5 {
		t.Errorf("the cgroup's: %+v", r)
	}
	if _, err := (machine{t, t.TempDir()}).system()[CPUPressure].Sample(time.Time{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without both: %v", err)
	}
}

func TestMemoryIsTheWorstOfWhatIsKnown(t *testing.T) {
	m := newMachine(t)
	const own, outer = "/sys/fs/cgroup/edge/own", "/sys/fs/cgroup/edge"
	mem := m.system()[Memory].(*memory)
	mem.pageSize = 4096
	var held, limit uint64
	mem.runtime = func() (uint64, uint64) { return held, limit }
	if _, err := mem.Sample(time.Time{}); err == nil {
		t.Error("nothing is known, and it was told")
	}
	m.write("/proc/self/statm", "100000 25600 0 0 0 0 0\n")                               // 100 MiB
	m.write("/proc/meminfo", "MemTotal:        4096000 kB\nMemAvailable:    307200 kB\n") // 300 MiB
	if r := sample(t, mem, 0); r.Value != 0.25 || !strings.Contains(r.Detail, "100 of 400 MiB") {
		t.Errorf("the machine: %+v", r)
	}
	m.write(outer+"/memory.max", "1000\n")
	m.write(outer+"/memory.current", "900\n")
	m.write(outer+"/memory.stat", "anon 300\nactive_file 200\ninactive_file 200\nslab_reclaimable 100\n")
	m.write(own+"/memory.max", "max\n")
	if r := sample(t, mem, 0); r.Value != 0.4 || !strings.Contains(r.Detail, "cgroup /sys/fs/cgroup/edge") {
		t.Errorf("what the kernel can drop is not in use: %+v", r)
	}
	held, limit = 90, 100
	if r := sample(t, mem, 0); r.Value != 0.9 || !strings.Contains(r.Detail, "GOMEMLIMIT") {
		t.Errorf("the runtime's limit: %+v", r)
	}
	m.write("/proc/meminfo", "MemAvailable: lots\n")
	if r := sample(t, mem, 0); r.Value != 0.9 {
		t.Errorf("one part that can't be read: %+v", r)
	}
}

func TestDescriptors(t *testing.T) {
	open, limit, fails := uint64(80), uint64(100), error(nil)
	d := &descriptors{count: func() (uint64, error) { return open, fails }, limit: func() (uint64, error) { return limit, nil }}
	if r := sample(t, d, 0); r.Value != 0.8 || r.Detail != "80 of 100" {
		t.Errorf("%+v", r)
	}
	fails = &os.PathError{Op: "open", Err: syscall.EMFILE}
	if r := sample(t, d, 0); r.Value != 1 {
		t.Errorf("with none left to count them with: %+v", r)
	}
	fails = os.ErrNotExist
	if _, err := d.Sample(time.Time{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	limit = 0
	if _, err := d.Sample(time.Time{}); !errors.Is(err, ErrNoLimit) {
		t.Error(err)
	}
}

func TestFilesAreCountedWithoutTheirSizeToo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := countEntries(dir); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTheFullestQueueCounts(t *testing.T) {
	q := AcceptQueues(func() ([]Queue, error) { return []Queue{{":80", 10, 100}, {":443", 60, 100}, {":8080", 5, 0}}, nil })
	if r := sample(t, q, 0); r.Value != 0.6 || r.Detail != ":443: 60 of 100" {
		t.Errorf("%+v", r)
	}
	if _, err := AcceptQueues(func() ([]Queue, error) { return nil, errors.ErrUnsupported }).Sample(time.Time{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestSchedulingLatencyIsThatOfTheIntervalAlone(t *testing.T) {
	h := &metrics.Float64Histogram{Counts: []uint64{1000, 0, 500}, Buckets: []float64{0, 0.001, 0.01, 0.1}}
	s := &scheduling{read: func() *metrics.Float64Histogram { return h }}
	if _, err := s.Sample(time.Time{}); !errors.Is(err, errFirst) {
		t.Error(err)
	}
	h.Counts = []uint64{1000 + 990, 10, 500}
	if r := sample(t, s, 0); r.Value != 0.001 || r.Detail != "of 1000 waits" {
		t.Errorf("%+v", r)
	}
	h.Counts = []uint64{1990 + 989, 10 + 11, 500}
	if r := sample(t, s, 0); r.Value != 0.01 {
		t.Errorf("one more than a hundredth: %+v", r)
	}
	h.Counts = []uint64{2979, 21, 500 + 99}
	if r := sample(t, s, 0); r.Value != 0 {
		t.Errorf("too few to say anything: %+v", r)
	}
	h = nil
	if _, err := s.Sample(time.Time{}); err == nil {
		t.Error("no histogram, and it was told")
	}
}
