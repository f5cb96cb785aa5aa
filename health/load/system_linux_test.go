package load

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestThisMachineTells(t *testing.T) {
	sources := closing(t, System())
	for name, s := range sources {
		_, err := s.Sample(time.Now())
		if errors.Is(err, errFirst) {
			_, err = s.Sample(time.Now().Add(time.Second))
		}
		if err != nil && !(name == CPUPressure && errors.Is(err, os.ErrNotExist)) { // a kernel may be without
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenDescriptorsAreCounted(t *testing.T) {
	count := func() uint64 {
		n, err := countFiles("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	const more = 10
	for range more {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if got := count(); got != before+more {
		t.Errorf("%d, and %d after %d more", before, got, more)
	}
	if n, err := countEntries("/proc/self/fd"); err != nil || n != before+more+1 { // with the directory's own
		t.Errorf("by its entries: %d, %v", n, err)
	}
}

func TestAFileIsReadAnewAndStaysOpen(t *testing.T) {
	m := newMachine(t)
	m.write("/f", "first\n")
	f := file{path: m.root + "/f"}
	defer f.close()
	if b, err := f.read(); err != nil || string(b) != "first\n" {
		t.Fatalf("%q, %v", b, err)
	}
	m.write("/f", "second\n")
	if b, err := f.read(); err != nil || string(b) != "second\n" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Remove(m.root + "/f"); err != nil {
		t.Fatal(err)
	}
	if b, err := f.read(); err != nil || string(b) != "second\n" {
		t.Errorf("it needs the file's name again: %q, %v", b, err)
	}
}

func TestTheRuntimeTellsWhatIsAliveAndNotWhatIsGarbage(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	runtime.GC()
	before, limit := heldByRuntime()
	if before == 0 || limit != 1<<40 {
		t.Fatalf("%d of %d bytes", before, limit)
	}
	const size = 64 << 20
	kept := make([]byte, size)
	runtime.GC()
	if held, _ := heldByRuntime(); held < before+size/2 {
		t.Errorf("%d bytes, and %d with %d more alive", before, held, size)
	}
	runtime.KeepAlive(kept)
	runtime.GC()
	if held, _ := heldByRuntime(); held > before+size/2 {
		t.Errorf("%d bytes after they are garbage, %d before", held, before)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if _, limit := heldByRuntime(); limit != 0 {
		t.Errorf("a limit of %d without one", limit)
	}
}

func TestTheMonitorLeavesNoFilesOpen(t *testing.T) {
	sources := System()
	c, mem, p := sources[CPU].(*cpu), sources[Memory].(*memory), sources[CPUPressure].(*pressure)
	open := func() (n int) {
		files := append([]*file{&c.stat, &mem.statm, &mem.meminfo}, p.files...)
		for i := range c.groups {
			files = append(files, &c.groups[i].quota, &c.groups[i].stat, &mem.groups[i].limit, &mem.groups[i].usage, &mem.groups[i].stat)
		}
		for _, f := range files {
			if f.f != nil {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := New(quickConfig(), sources, Options{After: func(State) {
		if open() < 3 {
			t.Error("files are opened for each sample")
		}
		cancel()
	}})
	m.Run(ctx)
	if n := open(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

func BenchmarkSample(b *testing.B) {
	m := New(quickConfig(), System(), Options{})
	b.ReportAllocs()
	for b.Loop() {
		m.sample(time.Now())
	}
}
