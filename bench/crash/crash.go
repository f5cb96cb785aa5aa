// Package crash kills an edge over and over while clients load it, and looks at every byte that it serves.
//
// Each body says which URL and version it is, how long it is, and its checksum, and the fields of the response say the same: a body that is torn, or
// mixed from two, or has another's fields, is found out. What was cut off by a kill must show as cut off. A hit on something that the origin
// has not been asked for since the restart is a warm one: it came from the disk.
package crash

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what to do.
type Options struct {
	Binary  string   // nearcast
	Env     []string // for it, beyond this process's own
	Dir     string   // for its configuration and its disk cache; kept
	Kills   int
	Between time.Duration // longest life between two kills
	Clients int
	Keys    int
	MaxBody int    // bytes
	Memory  string // cache.memory; small, so that the disk is used
	Disk    string // cache.disk.size
	NoDisk  bool   // without cache.disk: shows that nothing wrong is served, and no more
	Seed    uint64
	// Progress is called after each life; it may be nil.
	Progress func(life int, r Result)
}

// Result is what was seen.
type Result struct {
	Kills    int           `json:"kills"`
	Requests int64         `json:"requests"` // answered in full
	Hits     int64         `json:"hits"`
	Warm     int64         `json:"warm_hits"` // of what the origin was not asked for since the start
	Cut      int64         `json:"cut"`       // ended by a kill, and seen as ended
	Wrong    int64         `json:"wrong"`
	Fault    string        `json:"fault,omitempty"` // the first wrong answer
	Ready    time.Duration `json:"ready_ns"`        // longest time from start to the first answer
	First    time.Duration `json:"first_warm_ns"`   // longest time from start to the first warm hit, of the lives that had one
}

type loop struct {
	o      Options
	origin *origin
	base   string

	requests, hits, warm, cut, wrong atomic.Int64
	mu                               sync.Mutex
	fault                            string
	ready, first                     time.Duration
	started                          time.Time // of this life
	warmed                           bool      // it has had a warm hit
}

// Run makes the kills. It is an error when the edge can't be started, not when it serves something wrong: that is in the result.
func Run(ctx context.Context, o Options) (Result, error) {
	org, err := newOrigin()
	if err != nil {
		return Result{}, err
	}
	defer org.close()
	org.maxBody = o.MaxBody
	l := &loop{o: o, origin: org}
	if err := l.configure(); err != nil {
		return Result{}, err
	}
	rnd := rand.New(rand.NewPCG(o.Seed, 1))
	for life := range o.Kills + 1 {
		if err := l.live(ctx, life, time.Duration(rnd.Int64N(int64(o.Between))+1)); err != nil {
			return l.result(life), err
		}
		if o.Progress != nil {
			o.Progress(life+1, l.result(life))
		}
	}
	return l.result(o.Kills), nil
}

func (l *loop) result(kills int) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Result{Kills: kills, Requests: l.requests.Load(), Hits: l.hits.Load(), Warm: l.warm.Load(), Cut: l.cut.Load(), Wrong: l.wrong.Load(), Fault: l.fault, Ready: l.ready, First: l.first}
}

func (l *loop) configFile() string { return filepath.Join(l.o.Dir, "crash.yaml") }

// configure writes the configuration, and asks the binary whether it understands it.
func (l *loop) configure() error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	l.base = "http://" + address
	disk := fmt.Sprintf(", disk: { path: %q, size: %s }", filepath.Join(l.o.Dir, "cache"), l.o.Disk)
	if l.o.NoDisk {
		disk = ""
	}
	text := fmt.Sprintf(`version: 1
edge: { name: crash, region: here }
listen: [{ address: %q }]
regions: { here: { location: [50, 8] } }
services: { all: { hosts: ["*"], origins: { here: [%q] } } }
cache: { memory: %s, max_object: 1MiB%s }
overload: { shed: false }
`, address, l.origin.url, l.o.Memory, disk)
	if err := os.WriteFile(l.configFile(), []byte(text), 0o600); err != nil {
		return err
	}
	out, err := l.command("validate").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (l *loop) command(what string) *exec.Cmd {
	cmd := exec.Command(l.o.Binary, what, "-c", l.configFile())
	cmd.Env = append(os.Environ(), l.o.Env...)
	return cmd
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// live starts the edge, loads it for a time, and kills it.
func (l *loop) live(ctx context.Context, life int, span time.Duration) error {
	log, err := os.Create(filepath.Join(l.o.Dir, "edge.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := l.command("run")
	cmd.Stderr = log
	started := time.Now()
	l.mu.Lock()
	l.started, l.warmed = started, false
	l.mu.Unlock()
	l.origin.nextLife()
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // SIGKILL: it gets no chance to tidy up
		_ = cmd.Wait()
	})
	defer stop()
	if err := l.awaitReady(ctx); err != nil {
		return fmt.Errorf("life %d: %w; its log is %s", life+1, err, log.Name())
	}
	l.mu.Lock()
	l.ready = max(l.ready, time.Since(started))
	l.mu.Unlock()

	load, end := context.WithTimeout(ctx, span)
	defer end()
	var clients sync.WaitGroup
	for i := range l.o.Clients {
		clients.Go(func() { l.client(load, rand.New(rand.NewPCG(l.o.Seed, uint64(life*1000+i)))) })
	}
	<-load.Done()
	stop() // in the middle of what is under way
	clients.Wait()
	return ctx.Err()
}

// awaitReady asks until there is an answer.
func (l *loop) awaitReady(ctx context.Context) error {
	for until := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get(l.base + "/k/0")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			return err
		}
		if time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
