package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		why, stat string
		state     byte
		start     uint64
		wrong     bool
	}{
		{why: "an ordinary one", stat: "7 (bird) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0", state: 'S', start: 4711},
		{why: "a name made to mislead", stat: "7 (x) Z 1 (y) R 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12 0 0", state: 'R', start: 12},
		{why: "cut short", stat: "7 (bird) S 1 7", wrong: true},
		{why: "empty", stat: "", wrong: true},
	} {
		state, start, err := parseStat([]byte(c.stat))
		if (err != nil) != c.wrong || !c.wrong && (state != c.state || start != c.start) {
			t.Errorf("%s: %c %d %v", c.why, state, start, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (bird) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _, _ = parseStat(data) })
}

// A number that was reused must never be signalled: the identity differs although the number is the same.
func TestReusedNumberIsLeftAlone(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Fatal("this process does not run")
	}
	former := ID{PID: self.PID, Start: self.Start - 1}
	if former.Alive() {
		t.Error("a process with another start time is taken for this one")
	}
	if err := former.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal: %v", err)
	}
	if err := former.Stop(t.Context(), 0); err != nil {
		t.Errorf("stopping what has ended is no error: %v", err)
	}
}

func group(t *testing.T) (*Group, string) {
	t.Helper()
	dir := t.TempDir()
	g := NewGroup(dir)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.StopAll(ctx, time.Second); err != nil {
			t.Error(err)
		}
	})
	return g, filepath.Join(dir, "log")
}

func TestStopFromAnotherGroup(t *testing.T) {
	g, log := group(t)
	id, err := g.Start(Spec{Name: "sleeper", Args: []string{"sleep", "1000"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	other := NewGroup(g.dir) // as another process would
	if found, err := other.Get("sleeper"); err != nil || found != id {
		t.Errorf("Get = %v, %v", found, err)
	}
	if err := other.Stop(t.Context(), "sleeper", patience); err != nil {
		t.Error(err)
	}
	if id.Alive() {
		t.Error("still running after Stop")
	}
	if _, err := g.Get("sleeper"); !errors.Is(err, ErrGone) {
		t.Errorf("Get after Stop: %v", err)
	}
}

func TestStubbornProcessIsKilled(t *testing.T) {
	g, log := group(t)
	id, err := g.Start(Spec{Name: "deaf", Args: []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if data, _ := os.ReadFile(log); string(data) == "ready\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program never became ready")
		}
	}
	if err := g.StopAll(t.Context(), 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	if id.Alive() {
		t.Error("still running after StopAll")
	}
}

// A restart under the same name must not lose the new record when the old program's end is noticed late.
func TestRestartKeepsTheNewRecord(t *testing.T) {
	g, log := group(t)
	var last ID
	for range 5 {
		id, err := g.Start(Spec{Name: "x", Args: []string{"sleep", "1000"}, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if last != (ID{}) {
			if err := last.Stop(t.Context(), patience); err != nil {
				t.Fatal(err)
			}
		}
		last = id
	}
	time.Sleep(20 * time.Millisecond) // the late notice, if it comes
	if found, err := g.Get("x"); err != nil || found != last {
		t.Errorf("Get = %v, %v, want %v", found, err, last)
	}
}

func TestWaitObeysItsContext(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := id.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	g, log := group(t)
	if _, err := g.Start(Spec{Name: "ghost", Args: []string{"/no/such/program"}, Log: log}); err == nil {
		t.Error("a missing program started")
	}
}
