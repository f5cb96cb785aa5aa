package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func TestALogWritesWhatIsLeftWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := newLogWriter(&out, new(metrics.Counter))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		a.Write([]byte("one\n"))
		synctest.Wait()
		a.Write([]byte("two\n"))
		cancel()
		<-done
		if out.String() != "one\ntwo\n" {
			t.Errorf("got %q", out.String())
		}
	})
}

// stuck is a reader of the log that takes nothing until it is let go.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.release; return len(p), nil }

func TestAStuckReaderOfALogHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{make(chan struct{})}
		defer close(s.release)
		a := newLogWriter(s, new(metrics.Counter))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		line := bytes.Repeat([]byte("x"), 1<<20)
		a.Write(line)
		synctest.Wait() // it is being written, and will be for ever
		for range 6 {
			a.Write(line)
		}
		if n := a.dropped.Get(); n != 2 {
			t.Errorf("%d lines dropped, want the two beyond the bound", n)
		}
		cancel()
		<-done // after a second at most: synctest would report a deadlock otherwise
	})
}

// gone is a reader of the log that has died in the middle of a line.
type gone struct{}

func (gone) Write(p []byte) (int, error) { return 2, syscall.EPIPE }

func TestLinesThatADeadReaderDidNotGetAreCounted(t *testing.T) {
	a := newLogWriter(gone{}, new(metrics.Counter))
	a.Write([]byte("one\n"))
	a.Write([]byte("two\n"))
	a.flush(nil)
	if n := a.dropped.Get(); n != 2 {
		t.Errorf("%d lines dropped, want both", n)
	}
}

// fullDisk has room for so many bytes, until there is more.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestALineThatWasCutDoesNotSpoilTheNext(t *testing.T) {
	disk := &fullDisk{room: 6}
	a := newLogWriter(disk, new(metrics.Counter))
	for _, room := range []int{0, 0, 1, 100} {
		a.Write([]byte("one\n"))
		a.Write([]byte("two\n"))
		a.flush(nil)
		disk.room += room
	}
	a.Write([]byte("three\n"))
	a.flush(nil)
	if got := disk.String(); got != "one\ntw\nthree\n" || a.dropped.Get() != 7 {
		t.Errorf("written %q, %d lines dropped", got, a.dropped.Get())
	}
}

// TestADeadReaderOfTheLogDoesNotEndTheEdge runs the edge as a process of its own whose standard output nobody reads any more.
func TestADeadReaderOfTheLogDoesNotEndTheEdge(t *testing.T) {
	if file := os.Getenv("NEARCAST_TEST_CONFIG"); file != "" {
		os.Exit(execute([]string{"run", "-c", file}, os.Stdout, os.Stderr))
	}
	address := freeAddress(t)
	file := writeConfig(t, "version: 1\nedge: { name: e1 }\nlisten: [{ address: \""+address+"\" }]\n"+
		"services: { s: { hosts: [\"*\"], origins: { a: [\"http://127.0.0.1:9\"] } } }\n")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "NEARCAST_TEST_CONFIG="+file)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	out.Close()
	answers := 0
	for deadline := time.Now().Add(20 * time.Second); answers < 5 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + address + "/"); err == nil {
			res.Body.Close()
			answers++
		}
	}
	if answers < 5 {
		t.Errorf("%d answers: the edge died with the reader of its log", answers)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v, want exit code 0; it said\n%s", err, said.String())
	}
}

// batches keeps each write apart.
type batches struct {
	mu     sync.Mutex
	writes []string
}

func (b *batches) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.writes)
}

func (b *batches) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes = append(b.writes, string(p))
	return len(p), nil
}

func TestLinesThatComeTogetherAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &batches{}
		a := newLogWriter(out, new(metrics.Counter))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		a.Write([]byte("1\n"))
		synctest.Wait()
		a.Write([]byte("2\n"))
		a.Write([]byte("3\n"))
		synctest.Wait()
		if w := out.all(); len(w) != 1 || w[0] != "1\n" {
			t.Errorf("the first line is written at once, the next wait for others: %q", w)
		}
		time.Sleep(logDelay + time.Millisecond)
		synctest.Wait()
		if w := out.all(); len(w) != 2 || w[1] != "2\n3\n" {
			t.Errorf("got %q", w)
		}
		a.Write([]byte("4\n"))
		a.Write(bytes.Repeat([]byte("x"), logBatch))
		synctest.Wait()
		if w := out.all(); len(w) != 3 {
			t.Errorf("%d writes: a batch waits for nothing", len(w))
		}
		cancel()
		<-done
	})
}
