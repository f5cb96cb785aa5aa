package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
)

// helper in the environment makes this program one that has a lab, as `nearcast lab up` does.
const helper = "NEARCAST_LAB_TEST_HELPER=1"

// TestMain makes the program the helper when its environment says so.
func TestMain(m *testing.M) {
	if os.Getenv(strings.Split(helper, "=")[0]) == "" {
		os.Exit(m.Run())
	}
	if err := haveALab(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// haveALab is the helper: it has a lab until it is told to stop.
func haveALab() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := Up(ctx, Options{NoEdges: true, Wait: 5 * time.Minute})
	if err != nil {
		return err
	}
	fmt.Println("the lab is up")
	<-ctx.Done()
	if err := l.Close(context.Background()); err != nil {
		return err
	}
	fmt.Println("the lab is closed")
	return nil
}

// startHelper returns a process that has a lab, and what it prints from then on.
func startHelper(t *testing.T) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	if missing := Missing(); len(missing) > 0 {
		t.Skipf("the lab needs %s", strings.Join(missing, ", "))
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helper)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	said := ""
	for {
		line, err := r.ReadString('\n')
		said += line
		if err != nil {
			_ = cmd.Wait()
			t.Fatalf("the helper ended: %v; it said\n%s", err, said)
		}
		if strings.Contains(line, "the lab is up") {
			return cmd, r
		}
	}
}

// nothingLeft fails the test if any part of a lab is still there.
func nothingLeft(t *testing.T, programs map[string]process.ID) {
	t.Helper()
	if left, err := netns.List(prefix); err != nil || len(left) > 0 {
		t.Errorf("namespaces left: %v %v", left, err)
	}
	if _, err := os.Stat(stateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", stateDir, err)
	}
	for name, id := range programs {
		if id.Alive() {
			t.Errorf("%s still runs as process %d", name, id.PID)
		}
	}
	lock, err := tryLock()
	if err != nil {
		t.Fatalf("the lock is held: %v", err)
	}
	lock.Close()
}

func routersPrograms(t *testing.T) map[string]process.ID {
	t.Helper()
	programs := map[string]process.ID{}
	for _, name := range []string{"nyc-bird", "fra-zebra", "fra-bfdd", "fra-bgpd", "tyo-bird"} {
		id, err := process.NewGroup(programDir).Get(name)
		if err != nil {
			t.Fatal(err)
		}
		programs[name] = id
	}
	return programs
}

func TestDownHasTheHolderCloseItsLab(t *testing.T) {
	cmd, out := startHelper(t)
	programs := routersPrograms(t)
	waited := make(chan error, 1)
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(out)
		rest <- string(text)
		waited <- cmd.Wait()
	}()
	if err := Down(t.Context()); err != nil {
		t.Error(err)
	}
	if text := <-rest; !strings.Contains(text, "the lab is closed") {
		t.Errorf("the holder said %q", text)
	}
	if err := <-waited; err != nil {
		t.Errorf("the holder: %v", err)
	}
	nothingLeft(t, programs)
}

func TestDownAfterTheHolderWasKilled(t *testing.T) {
	cmd, _ := startHelper(t)
	programs := routersPrograms(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// One program was started but never recorded, and an operator has a shell in a namespace.
	if err := os.Remove(programDir + "/tyo-bird.pid"); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sleep", "1000")
	if err := Namespace(Client, "tyo").Start(shell); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shell.Process.Kill(); _ = shell.Wait() }()
	if _, err := Attach(nil); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("Attach: %v", err)
	}
	if err := Down(t.Context()); err != nil {
		t.Error(err)
	}
	nothingLeft(t, programs)
	if id, err := process.Identify(shell.Process.Pid); err != nil {
		t.Errorf("the operator's shell was ended: %v %v", id, err)
	}
}
