package router_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
)

// TestMain is the edge when it is started as one.
func TestMain(m *testing.M) {
	if text := os.Getenv(edgeEnv); text != "" {
		if err := runEdge([]byte(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runEdge announces the routes of each line of standard input to the scene's router, and answers each with its status.
func runEdge(text []byte) error {
	var of scene
	if err := json.Unmarshal(text, &of); err != nil {
		return err
	}
	c := of.config()
	var faults []string
	c.Validate(func(key, fault string) { faults = append(faults, key+" "+fault) })
	if faults != nil {
		return fmt.Errorf("%v", faults)
	}
	s, err := bgp.NewSpeaker(c, slog.New(slog.NewTextHandler(os.Stderr, nil)), metrics.NewSet())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if line := in.Bytes(); len(line) > 0 {
			var routes []bgp.Route
			if err := json.Unmarshal(line, &routes); err != nil {
				return err
			}
			s.SetRoutes(routes)
		}
		if err := json.NewEncoder(os.Stdout).Encode(s.Status()); err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

// edgeProcess is a speaker in the edge's namespace.
type edgeProcess struct {
	t   *testing.T
	in  io.WriteCloser
	out *json.Decoder
	log *bytes.Buffer // to be read after its end
}

func startEdge(t *testing.T, s scene) *edgeProcess {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	e := &edgeProcess{t: t, log: new(bytes.Buffer)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), edgeEnv+"="+string(text))
	cmd.Stderr = e.log
	if e.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.out = json.NewDecoder(out)
	if err := edgeSpace.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the edge's end: %v", err)
		}
		if t.Failed() {
			t.Logf("the edge's log:\n%s", e.log)
		}
	})
	return e
}

// status is a line to the edge, empty or routes, and its answer.
func (e *edgeProcess) status(line string) neighborStatus {
	e.t.Helper()
	if _, err := io.WriteString(e.in, line+"\n"); err != nil {
		e.t.Fatal(err)
	}
	var st []neighborStatus
	if err := e.out.Decode(&st); err != nil || len(st) != 1 {
		e.t.Fatalf("status %v: %v", st, err)
	}
	return st[0]
}

// neighborStatus is what the tests read of the status, as an operator's tools would.
type neighborStatus struct {
	State         string
	LastDown      string `json:"last_down"`
	Announcements []struct{ Prefix netip.Prefix }
	Mismatches    []struct{ Kind string }
}

func (e *edgeProcess) set(routes ...bgp.Route) {
	e.t.Helper()
	text, err := json.Marshal(routes)
	if err != nil {
		e.t.Fatal(err)
	}
	e.status(string(text))
}
