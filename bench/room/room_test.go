package room

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/process"
)

// insideTest is what the test's own binary does when it is started in the room; "" in the test itself.
const insideTest = "NEARCAST_ROOM_TEST"

func TestMain(m *testing.M) {
	if what := os.Getenv(insideTest); what != "" {
		if err := inside(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inside prints what the room looks like from the inside; when told to, it leaves a program behind and waits to be stopped.
func inside(what string) error {
	p, ok := Inside()
	if !ok {
		return errors.New("not inside")
	}
	if what == "stay" {
		if _, err := p.Start(Spec{Name: "left", Core: p.Cores.Server, Args: []string{"sleep", "1000"}, Log: filepath.Join(memory, "log")}); err != nil {
			return err
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
	}
	if err := p.SetMTU(context.Background(), 1500); err != nil {
		return err
	}
	control, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return err
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	dir, err := p.NewDir("server")
	if err != nil {
		return err
	}
	prog, err := p.Start(Spec{Name: "tree", Core: p.Cores.Server, Env: []string{"COLOUR=blue"}, Log: filepath.Join(dir, "log"),
		Args: []string{"sh", "-c", `echo $COLOUR; sleep 1000 & sleep 1001 & wait`}})
	if err != nil {
		return err
	}
	tree, err := awaitTree(prog, 3)
	if err != nil {
		return err
	}
	var core, own unix.CPUSet
	if err := errors.Join(unix.SchedGetaffinity(prog.PID, &core), unix.SchedGetaffinity(0, &own)); err != nil {
		return err
	}
	if err := prog.Stop(context.Background()); err != nil {
		return err
	}
	for _, id := range tree {
		if id.Alive() {
			return fmt.Errorf("process %d still runs", id.PID)
		}
	}
	out, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:80") // somebody else's port outside does not matter
	if err != nil {
		return err
	}
	l.Close()
	fmt.Printf("%s %d %v %s on %v/%v of %v/%v\n", strings.TrimSpace(string(control)), lo.MTU, lo.Flags&net.FlagUp != 0, strings.TrimSpace(string(out)),
		core.IsSet(p.Cores.Server), own.IsSet(p.Cores.Load), core.Count(), own.Count())
	return nil
}

// awaitTree waits until a program consists of n processes.
func awaitTree(p *Program, n int) ([]process.ID, error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if tree := p.Tree(); len(tree) == n {
			return tree, nil
		} else if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d processes, want %d", len(tree), n)
		}
	}
}

// open opens the room or skips the test, aloud.
func open(t *testing.T) *Room {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: a network namespace")
	}
	r, err := Open(t.Context())
	if errors.Is(err, ErrTaken) {
		t.Skip("a measurement is running on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

func TestRoomFromInside(t *testing.T) {
	r := open(t)
	t.Setenv(insideTest, "look")
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := r.Run(t.Context(), cmd); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if got, want := out.String(), "reno 1500 true blue on true/true of 1/1\n"; got != want {
		t.Errorf("inside: %q, want %q", got, want)
	}
	if _, err := Open(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("a second room at the same time: %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(memory); !errors.Is(err, os.ErrNotExist) || space.Exists() {
		t.Error("the room is still there after Close")
	}
}

// started is a writer that closes a channel at the first write.
type started struct{ ready chan struct{} }

func (s started) Write(b []byte) (int, error) { close(s.ready); return len(b), nil }

func TestStoppedRunLeavesNothing(t *testing.T) {
	r := open(t)
	t.Setenv(insideTest, "stay")
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	cmd := exec.Command(os.Args[0])
	cmd.Stdout = started{ready}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, cmd) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	left, err := r.group.Get("left")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left.Alive() {
		t.Error("a server outlived the room")
	}
}

func TestParentOf(t *testing.T) {
	for stat, want := range map[string]int{
		"7 (nginx) S 12 7 7 0": 12, "7 (a) b) R 1 (x) S 13 7": 13, "7 (x": 0, "": 0, "7 (x) S y 1": 0,
	} {
		if got, ok := parentOf([]byte(stat)); got != want || ok != (want != 0) {
			t.Errorf("%q: %d %v", stat, got, ok)
		}
	}
}

func FuzzParentOf(f *testing.F) {
	f.Add([]byte("7 (nginx) S 12 7 7 0"))
	f.Fuzz(func(t *testing.T, data []byte) { parentOf(data) })
}
