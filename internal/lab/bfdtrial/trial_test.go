package bfdtrial

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"nearcast/bgp/bfd"
)

// The test binary is the edge in processes that have one of these in their environment.
const (
	edgeVar    = "NEARCAST_BFD_EDGE"
	speakerVar = "NEARCAST_BFD_SPEAKER"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(edgeVar) != "":
		beEdge()
	case os.Getenv(speakerVar) != "":
		beSpeaker()
	default:
		os.Exit(m.Run())
	}
}

// beEdge keeps the sessions until it is told to stop, and prints all of them whenever one has changed. A SIGUSR1 takes its lease or gives it back.
func beEdge() {
	var dead atomic.Bool
	e, err := bfd.New(bfd.Options{Peers: peers(), Alive: func() bool { return !dead.Load() }, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Set: metrics.NewSet()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lease := make(chan os.Signal, 1)
	signal.Notify(lease, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	out := json.NewEncoder(os.Stdout)
	last := ""
	for {
		var all []bfd.Status
		key := ""
		for i := range paths {
			st := e.Session(i).Status()
			all = append(all, st)
			key += fmt.Sprint(st.State, st.RemoteState, st.Diagnostic, st.RemoteDiagnostic, st.Detail, st.DetectionTime, st.TransmitInterval, " ")
		}
		if key != last {
			last = key
			_ = out.Encode(all)
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-lease:
			dead.Store(!dead.Load())
		case <-done:
			return
		}
	}
}

// edgeProcess is the edge as the test sees it.
type edgeProcess struct {
	cmd *exec.Cmd
	log string

	mu   sync.Mutex
	last []byte // guarded by mu: the last line
}

// startProcess starts the test binary in the edge's namespace.
func startProcess(t *testing.T, dir, variable, as string) *edgeProcess {
	t.Helper()
	p := &edgeProcess{cmd: exec.Command(os.Args[0]), log: dir + "/edge.log"}
	p.cmd.Env = append(os.Environ(), variable+"="+as)
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := edge.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.last = bytes.Clone(s.Bytes())
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		reading.Wait()
		_ = p.cmd.Wait()
	})
	return p
}

// line is the last that it printed.
func (p *edgeProcess) line() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// sessions are those of a process that is beEdge.
func (p *edgeProcess) sessions() (all []bfd.Status) {
	_ = json.Unmarshal(p.line(), &all) // none before the first line
	return all
}

func (p *edgeProcess) all(cond func(bfd.Status) bool) bool {
	all := p.sessions()
	for _, st := range all {
		if !cond(st) {
			return false
		}
	}
	return len(all) == len(paths)
}

func (p *edgeProcess) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// trial is an edge and a router with all paths between them.
type trial struct {
	t      *testing.T
	dir    string
	edge   *edgeProcess
	router daemon
}

func (r *trial) describe() string {
	log, _ := os.ReadFile(r.edge.log)
	return fmt.Sprintf("edge: %s\n%s\nrouter: %v\n%s", r.edge.line(), log, r.router.states(), logs(r.dir))
}

func (r *trial) want(what string, cond func() bool) time.Duration {
	r.t.Helper()
	return want(r.t, what, cond, r.describe)
}

func (r *trial) allUp() bool {
	return r.edge.all(func(st bfd.Status) bool { return st.State == bfd.Up }) && r.routerHas(func(s string) bool { return s == "up" })
}

func (r *trial) routerHas(cond func(string) bool) bool {
	states := r.router.states()
	for _, p := range paths {
		if s, ok := states[p.own.WithZone("")]; !ok || !cond(s) {
			return false
		}
	}
	return true
}

func (r *trial) routerLost() bool { return r.routerHas(func(s string) bool { return s != "up" }) }

func (r *trial) failures() (n uint64) {
	for _, st := range r.edge.sessions() {
		n += st.Failures
	}
	return n
}

// TestWithRouters: what a router and the edge make of each other's end, hang, order and silence, over one hop and two, in both families.
func TestWithRouters(t *testing.T) {
	needs(t)
	for name, d := range map[string]func(dir string) daemon{
		"BIRD": func(dir string) daemon { return &bird{dir} },
		"FRR":  func(dir string) daemon { return &frr{dir} },
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "bfd") // t.TempDir's path is too long for a Unix socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			build(t)
			g := programs(t)
			r := &trial{t: t, dir: dir, router: d(dir)}
			r.router.start(t, g)
			r.edge = startProcess(t, dir, edgeVar, "1")
			t.Logf("%s: all sessions up after %s", name, r.want("all sessions up", r.allUp))
			r.negotiated()
			r.silence()
			r.hang()
			r.lease()
			kill(t, g, r.router)
			lost := r.failures()
			t.Logf("%s: its end noticed after %s", name, r.want("the router's end to be noticed", func() bool {
				return r.edge.all(func(st bfd.Status) bool { return st.State == bfd.Down && st.Diagnostic == bfd.DetectionTimeExpired })
			}))
			if got := r.failures() - lost; got != uint64(len(paths)) {
				t.Errorf("%d failures, want one a session", got)
			}
			r.router.start(t, g)
			t.Logf("%s: after its return all up after %s", name, r.want("all sessions up", r.allUp))
			r.end()
		})
	}
}

// negotiated checks what both have agreed on.
func (r *trial) negotiated() {
	r.want("the intervals agreed on", func() bool {
		return r.edge.all(func(st bfd.Status) bool {
			return time.Duration(st.TransmitInterval) == interval && time.Duration(st.DetectionTime) == multiplier*interval
		})
	})
}

// silence: the packets vanish on the way.
func (r *trial) silence() {
	heal := cut(r.t)
	r.t.Logf("packets vanish: the router has noticed after %s", r.want("the router to notice", r.routerLost))
	r.want("the edge to notice", func() bool { return r.edge.all(func(st bfd.Status) bool { return st.State == bfd.Down }) })
	heal()
	r.t.Logf("path healed: all up after %s", r.want("all sessions up", r.allUp))
}

// hang: the edge's process stands still.
func (r *trial) hang() {
	r.negotiated()
	r.edge.signal(r.t, unix.SIGSTOP)
	r.t.Logf("process stopped: the router has noticed after %s", r.want("the router to notice", r.routerLost))
	r.edge.signal(r.t, unix.SIGCONT)
	r.t.Logf("process goes on: all up after %s", r.want("all sessions up", r.allUp))
}

// lease: the edge says that it does not serve.
func (r *trial) lease() {
	r.negotiated()
	before := r.failures()
	r.edge.signal(r.t, unix.SIGUSR1)
	r.t.Logf("no lease: the router has noticed after %s", r.want("the router to notice", r.routerLost))
	r.edge.signal(r.t, unix.SIGUSR1)
	r.t.Logf("lease again: all up after %s", r.want("all sessions up", r.allUp))
	if got := r.failures() - before; got != 0 {
		r.t.Errorf("what the edge puts down itself counts as %d failures", got)
	}
}

// end: first the edge is stopped in an orderly way and started again, then the router's operator shuts BFD. Neither is a failure to the other.
func (r *trial) end() {
	r.edge.signal(r.t, unix.SIGTERM)
	r.t.Logf("edge stopped: the router knows after %s", r.want("the router to know", r.routerLost))
	r.edge = startProcess(r.t, r.dir, edgeVar, "1")
	r.want("all sessions up", r.allUp)
	why, failures := bfd.NeighborSignaledDown, 0
	if r.router.shut(r.t) {
		why, failures = bfd.DetectionTimeExpired, len(paths)
	}
	r.want("the edge to know", func() bool {
		return r.edge.all(func(st bfd.Status) bool { return st.State == bfd.Down && st.Diagnostic == why })
	})
	if got := r.failures(); got != uint64(failures) {
		r.t.Errorf("BFD shut by the router's operator counts as %d failures, want %d", got, failures)
	}
}
