package process

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// line is a /proc/PID/stat of a process that is called what an unkind person would call it.
const line = "4242 (x) S (y 9) S 17 4200 4200 0 -1 4194560 900 800 0 0 " +
	"123 45 67 8 20 0 11 0 5000 1234567 321 18446744073709551615 1 1 0 0 0 0 0 0 2143420159 0 0 0 17 1 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	want := stat{pid: 4242, parent: 17, group: 4200, user: 1230 * time.Millisecond, system: 450 * time.Millisecond,
		reapedUser: 670 * time.Millisecond, reapedSystem: 80 * time.Millisecond, threads: 11, started: 5000, rssPages: 321}
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestParseStatRefusesWhatIsNoStat(t *testing.T) {
	for _, text := range []string{"", "4242", "4242 (a", "4242 a) S (", "x (a) S 1 1", "1 (a) S 1 1 1", strings.Replace(line, " 123 ", " 12x ", 1)} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, s)
		}
	}
}

func TestParseSwitches(t *testing.T) {
	v, i, err := parseSwitches([]byte("Name:\ta b\nThreads:\t3\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"))
	if err != nil || v != 150 || i != 545 {
		t.Errorf("got %d, %d, %v", v, i, err)
	}
	if _, _, err := parseSwitches([]byte("voluntary_ctxt_switches:\tmany\n")); err == nil {
		t.Error("a count that is no number was read")
	}
}

// proc makes a proc of the given processes: pid, parent, group, CPU ticks, reaped ticks.
func proc(t *testing.T, processes ...[5]int) string {
	t.Helper()
	root := t.TempDir()
	for _, p := range processes {
		dir := filepath.Join(root, strconv.Itoa(p[0]))
		for _, tid := range []int{p[0], p[0] + 1} {
			task := filepath.Join(dir, "task", strconv.Itoa(tid))
			if err := os.MkdirAll(task, 0o700); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(task, "status"), []byte("voluntary_ctxt_switches:\t2\nnonvoluntary_ctxt_switches:\t1\n"), 0o600)
		}
		text := fmt.Sprintf("%d (p) S %d %d 0 0 0 0 0 0 0 0 %d 0 %d 0 20 0 2 0 1 0 10 0 0", p[0], p[1], p[2], p[3], p[4])
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.MkdirAll(filepath.Join(root, "self"), 0o700)
	return root
}

func TestScope(t *testing.T) {
	// 10 is the parent of 20, and that of 30; 40 is in the group of 10 and a stranger's child.
	root := proc(t, [5]int{10, 1, 10, 100, 7}, [5]int{20, 10, 20, 200, 5}, [5]int{30, 20, 20, 400, 0}, [5]int{40, 2, 10, 800, 0})
	for _, tt := range []struct {
		set       Set
		processes int
		ticks     int
	}{
		{Set{}, 0, 0},
		{Set{PIDs: []int{10}}, 1, 100},
		{Set{PIDs: []int{10, 10, 40}}, 2, 900},
		{Set{PIDs: []int{10}, Scope: Tree}, 3, 712},
		{Set{PIDs: []int{10, 20}, Scope: Tree}, 3, 712},
		{Set{PIDs: []int{10}, Scope: Group}, 2, 900},
	} {
		tt.set.proc = root
		u, err := tt.set.Read()
		if err != nil {
			t.Fatal(err)
		}
		n := tt.processes
		want := Usage{Processes: n, Threads: 2 * n, User: time.Duration(tt.ticks) * 10 * time.Millisecond,
			RSS: int64(n * 10 * os.Getpagesize()), Voluntary: int64(4 * n), Involuntary: int64(2 * n)}
		if u != want {
			t.Errorf("%+v:\ngot  %+v\nwant %+v", tt.set, u, want)
		}
	}
	if _, err := (Set{PIDs: []int{11}, proc: root}).Read(); err == nil || err.Error() != "no process 11" {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestSince(t *testing.T) {
	before := Usage{User: time.Second, System: 2 * time.Second, RSS: 10, Voluntary: 5, Involuntary: 9}
	after := Usage{Processes: 1, User: 3 * time.Second, System: 5 * time.Second, RSS: 30, Voluntary: 8, Involuntary: 2}
	got := after.Since(before)
	if want := (Usage{Processes: 1, User: 2 * time.Second, System: 3 * time.Second, RSS: 30, Voluntary: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Each(1000) != 5*time.Millisecond || got.Each(0) != 0 {
		t.Errorf("each: %v, %v", got.Each(1000), got.Each(0))
	}
}

func TestSelfIsReadable(t *testing.T) {
	u, err := Self().Read()
	if err != nil || u.Processes != 1 || u.Threads < 1 || u.RSS < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string][]int{"1": {1}, "0,2-4,3": {0, 2, 3, 4}} {
		if got, err := ParseCPUs(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "1,", "2-1", "-1", "1-", "0-99999"} {
		if got, err := ParseCPUs(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestPinBindsEveryThread(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for cpu := range maxCPU {
		if before.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	procs := runtime.GOMAXPROCS(0)
	defer func() {
		if err := Pin(cpus); err != nil {
			t.Error(err)
		}
		runtime.GOMAXPROCS(procs)
	}()
	if err := Pin(cpus[:1]); err != nil {
		t.Fatal(err)
	}
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("GOMAXPROCS %d", n)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err == nil && (set.Count() != 1 || !set.IsSet(cpus[0])) {
			t.Errorf("thread %d may run on %d CPUs", tid, set.Count())
		}
	}
	if err := Pin([]int{maxCPU}); err == nil {
		t.Error("bound to a CPU that is not there")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(line))
	f.Add([]byte("1 (a) S 1 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		parseStat(text)
		parseSwitches(text)
	})
}
