package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/health"
	"nearcast/internal/config"
	"nearcast/proxy"
	"nearcast/proxy/front"
)

// minimal is a configuration with nothing in it but what it must have.
const minimal = `
version: 1
edge: { name: edge, region: here }
listen: [ { address: "127.0.0.1:1" } ]
regions: { here: { location: [50.11, 8.68] } }
services: { suite: { hosts: ["*"], origins: { here: ["http://127.0.0.1:%s"] } } }
`

// limit is how long a run may take. It is for one that hangs; an ordinary one takes some 13 s, most of which are the tests' own pauses.
const limit = 2 * time.Minute

// result is what one test came to.
type result struct {
	Kind string `json:"kind"` // required, optimal, or check, which asks what a cache does and not whether that is right
	Why  string `json:"why"`  // it did not pass; "" when it did
}

func TestSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the suite takes its time")
	}
	dir := installed(t)
	t.Parallel()
	results := runSuite(t, dir)
	odd := surprises(results)
	if len(odd) > 0 { // on a busy machine a response can age while the suite is on its way: once more, and only what is odd again counts
		again := surprises(runSuite(t, dir))
		maps.DeleteFunc(odd, func(id, _ string) bool { return again[id] == "" })
	}
	for _, id := range slices.Sorted(maps.Keys(odd)) {
		t.Errorf("%s: %s", id, odd[id])
	}
	passed, all := map[string]int{}, map[string]int{}
	for _, r := range results {
		if all[r.Kind]++; r.Why == "" {
			passed[r.Kind]++
		}
	}
	t.Logf("required %d/%d, optimal %d/%d", passed["required"], all["required"], passed["optimal"], all["optimal"])
}

// surprises are the tests that came to something else than expected, and what.
func surprises(results map[string]result) map[string]string {
	odd := map[string]string{}
	for id, r := range results {
		reason, known := expected[id]
		switch {
		case r.Kind == "check":
		case known && r.Why == "":
			odd[id] = "it passes, and should not: " + reason
		case !known && r.Why != "":
			odd[id] = fmt.Sprintf("a %s test does not pass: %s", r.Kind, r.Why)
		}
	}
	for id := range expected {
		if _, ok := results[id]; !ok {
			odd[id] = "it is expected not to pass, and the suite does not have it"
		}
	}
	return odd
}

// installed is where the suite is. The test ends here when it can't run.
func installed(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("NEARCAST_CONFORMANCE")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skip("SKIPPED: the home directory, which has the suite, is not known:", err)
		}
		dir = filepath.Join(home, ".cache", "nearcast-conformance", "http-cache-tests-0.4.5")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("SKIPPED: the suite needs Node.js; make setup installs both:", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "package", "client", "runner.mjs")); err != nil {
		t.Skip("SKIPPED: the suite is not there; make setup installs it:", err)
	}
	return dir
}

// runSuite runs the whole suite once against a pipeline of its own.
func runSuite(t *testing.T, dir string) map[string]result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--no-warnings", "suite.mjs", dir)
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	results, err := converse(t, in, bufio.NewReader(out))
	if ended := cmd.Wait(); err != nil || ended != nil {
		t.Fatalf("the suite did not run to its end: %v\n%s", errors.Join(err, ended), said.String())
	}
	return results
}

// converse starts the pipeline between the suite's origin and its tests, and waits for what they come to.
func converse(t *testing.T, in io.WriteCloser, out *bufio.Reader) (results map[string]result, err error) {
	defer in.Close() // without a URL the suite ends
	port, err := out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	base, stop, err := startEdge(strings.TrimSpace(port))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := fmt.Fprintln(in, base); err != nil {
		return nil, err
	}
	report, err := out.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return results, json.Unmarshal(report, &results)
}

// startEdge serves on a loopback port in front of the origin. stop returns when all of it has ended.
func startEdge(originPort string) (base string, stop func() error, err error) {
	cfg, err := config.Parse("minimal", fmt.Appendf(nil, minimal, originPort))
	if err != nil {
		return "", nil, err
	}
	cfg.Listen[0].Address = "127.0.0.1:0"
	set, log := metrics.NewSet(), slog.New(slog.DiscardHandler)
	p, err := proxy.New(proxy.Options{
		Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Regions: cfg.Regions, Services: cfg.Services,
		MaxBody: int64(cfg.Limits.MaxBodySize), MaxHeader: int64(cfg.Limits.MaxHeaderSize),
		Cache: cache.New(cfg.Cache, set), Health: health.New(log, set), Log: log, Set: set,
	})
	if err != nil {
		return "", nil, err
	}
	f, err := front.Open(cfg.Listen, cfg.TLS, cfg.Limits, log, set)
	if err != nil {
		p.Close()
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, p) }()
	return "http://" + f.Listeners()[0].Address.String(), func() error {
		cancel()
		err := <-ended
		p.Close()
		return err
	}, nil
}
