package bfd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"
)

// helperVar makes the test binary a neighbor: local address, remote address, interval.
const helperVar = "NEARCAST_BFD_NEIGHBOR"

func TestMain(m *testing.M) {
	if spec := os.Getenv(helperVar); spec != "" {
		beNeighbor(spec)
		return
	}
	os.Exit(m.Run())
}

// beNeighbor keeps a session until standard input ends, and says how often it was lost meanwhile.
func beNeighbor(spec string) {
	f := strings.Fields(spec)
	c := usual()
	c.Interval, _ = time.ParseDuration(f[2])
	e, err := New(Options{Peers: []Peer{peerOf(netip.MustParseAddr(f[0]), netip.MustParseAddr(f[1]), c)}, Log: slog.New(slog.DiscardHandler), Set: metrics.NewSet()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(e.Session(0).Failures())
	cancel()
	running.Wait()
}

// BenchmarkLateness shows how late packets go out of a process whose processors are full, which allocates as fast as it can, beside two other
// processes that never rest. Each iteration is a second: -benchtime 60x.
func BenchmarkLateness(b *testing.B) {
	for _, every := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		for _, loaded := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/loaded=%v", every, loaded), func(b *testing.B) { measureLateness(b, every, loaded) })
		}
	}
}

func measureLateness(b *testing.B, every time.Duration, loaded bool) {
	here, there := loopback(), loopback()
	neighbor := exec.Command(os.Args[0])
	neighbor.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", helperVar, there, here, every))
	in, err := neighbor.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := neighbor.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := neighbor.Start(); err != nil {
		b.Fatal(err)
	}
	c := usual()
	c.Interval = every
	e, err := New(Options{Peers: []Peer{peerOf(here, there, c)}, Log: slog.New(slog.DiscardHandler), Set: metrics.NewSet()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	s := e.Session(0)
	for !s.Up() {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second)
	stopLoad := func() {}
	if loaded {
		stopLoad = load(b)
	}
	before := cpuTime(b)
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * time.Second)
	b.StopTimer()
	used := cpuTime(b) - before
	stopLoad()
	in.Close()
	lost := ""
	for sc := bufio.NewScanner(out); sc.Scan(); {
		lost += sc.Text()
	}
	_ = neighbor.Wait()
	l := &s.metrics.late
	var counts []string
	total := uint64(0)
	for i := range l.buckets {
		n := l.buckets[i].Load()
		total += n
		bound := "more"
		if i < len(latenessBounds) {
			bound = "<=" + latenessBounds[i].String()
		}
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%s: %d", bound, n))
		}
	}
	avg, _ := os.ReadFile("/proc/loadavg")
	b.Logf("%s, loaded %v, %d s: %d packets, mean %s late, at most %s (%s); lost here %d times, there %s; load average %s", every, loaded, b.N, total,
		time.Duration(l.sum.Load()/int64(max(total, 1))), time.Duration(l.most.Load()), strings.Join(counts, ", "), s.Failures(), lost, strings.TrimSpace(string(avg)))
	b.ReportMetric(time.Duration(l.most.Load()).Seconds()*1000, "ms-at-most")
	b.ReportMetric(float64(s.Failures()), "lost")
	if !loaded {
		b.ReportMetric(used.Seconds()/float64(b.N)*100, "%-of-a-core")
	}
	cancel()
	running.Wait()
}

// load keeps all processors busy from here and from two other processes.
func load(b *testing.B) (stop func()) {
	var ending atomic.Bool
	var spinning sync.WaitGroup
	for range 4 {
		spinning.Go(func() {
			keep := make([][]byte, 1024)
			for i := 0; !ending.Load(); i++ {
				keep[i%len(keep)] = make([]byte, 16<<10)
			}
		})
	}
	var others []*exec.Cmd
	for range 2 {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		others = append(others, cmd)
	}
	return func() {
		ending.Store(true)
		spinning.Wait()
		for _, cmd := range others {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
