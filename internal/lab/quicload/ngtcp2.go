package quicload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"nearcast/internal/lab/process"
)

// ngtcp2 is the example client of ngtcp2 with GnuTLS, as Debian has it. It cannot pace requests, so it makes one, for a stream of numbered
// lines, and a record is a line: from the arrival of the one before to its own. The path of the target is not used. It checks no
// certificate, and ends with its connection.
type ngtcp2 struct{}

const ngtcp2Program = "gtlsclient"

// maxLine bounds a line of its output.
const maxLine = 64 << 10

func (ngtcp2) Name() string     { return "ngtcp2" }
func (ngtcp2) Available() error { return installed(ngtcp2Program, "ngtcp2-client") }

func (ngtcp2) Start(ctx context.Context, t Target) (Run, error) {
	if err := t.complete(); err != nil {
		return nil, fmt.Errorf("ngtcp2: %w", err)
	}
	url := fmt.Sprintf("https://%s/stream?every=%v&n=%d", t.authority(), t.interval(), maxRequests)
	r := &streamRun{first: make(chan error, 1)}
	output, err := r.start(&t, "--no-quic-dump", "--exit-on-all-streams-close", "--sni="+t.Host, t.Address.String(), strconv.Itoa(int(t.Port)), url)
	if err != nil {
		return nil, fmt.Errorf("ngtcp2: %w", err)
	}
	r.wg.Go(func() { r.read(output) })
	select {
	case err = <-r.first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		r.end()
		return nil, fmt.Errorf("ngtcp2: the first line: %w (see %s)", err, t.Log)
	}
	return r, nil
}

// streamRun is the program under way.
type streamRun struct {
	cmd   *exec.Cmd
	log   *os.File
	wg    sync.WaitGroup
	first chan error

	mu      sync.Mutex
	parser  streamParser
	stopped bool // what comes now is of our own doing
}

// start starts the program and returns its output.
func (r *streamRun) start(t *Target, args ...string) (*os.File, error) {
	log, err := os.OpenFile(t.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	r.log = log
	r.cmd = exec.Command(ngtcp2Program, args...)
	r.cmd.Env = append(os.Environ(), process.Mark)
	r.cmd.Stderr = in // it writes everything there, a line at a time; to standard output it would not
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.parser.last = time.Now().Round(0)
	err = errors.Join(t.Namespace.Start(r.cmd), in.Close())
	if err != nil {
		return nil, errors.Join(err, out.Close(), log.Close())
	}
	return out, nil
}

// read takes the output as it comes. It ends with the program.
func (r *streamRun) read(output *os.File) {
	defer output.Close()
	lines := bufio.NewScanner(output)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for lines.Scan() {
		r.mu.Lock()
		n := len(r.parser.records)
		if !r.stopped {
			r.parser.line(lines.Text(), time.Now().Round(0))
		}
		begun := n == 0 && len(r.parser.records) > 0
		r.mu.Unlock()
		if begun {
			r.first <- nil
		}
	}
	_, _ = io.Copy(io.Discard, output) // or a line that is too long would block the program
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.parser.ended(time.Now().Round(0))
		fmt.Fprintln(r.log, "ngtcp2:", r.parser.said)
		if len(r.parser.records) == 1 { // that of the end alone
			r.first <- errors.New(r.parser.records[0].Err)
		}
	}
}

// Stop waits for the line that is due. One that does not come hangs.
func (r *streamRun) Stop(ctx context.Context) ([]Record, error) {
	patience, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	p, begun := &r.parser, r.seen()
	_ = poll(patience, func() (bool, error) { return r.seen() > begun, nil })
	r.mu.Lock()
	r.stopped = true
	if !p.over && len(p.records) == begun {
		p.records = append(p.records, unfinished(Record{Start: p.last, Protocol: "h3", Via: p.via, Connection: 1}, time.Now().Round(0)))
	}
	r.mu.Unlock()
	r.end()
	return p.records, nil
}

func (r *streamRun) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parser.over {
		return maxRequests + 1 // no more will come
	}
	return len(r.parser.records)
}

func (r *streamRun) end() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // not reaped yet, so the number is its own
	_ = r.cmd.Wait()
	r.wg.Wait()
	_ = r.log.Close()
}
