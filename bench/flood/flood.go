// Package flood sends an edge Initials that nobody stands behind, and looks at what they cost it and at whether honest clients still get in.
package flood

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"nearcast/bench/process"
	"nearcast/internal/pki"
)

// host is whom the certificate is for.
const host = "flood.test"

// Defences are what an edge does about it.
const (
	Guard = "guard" // what it does by default
	Retry = "retry" // from 256 handshakes in progress on, clients must prove their address; no more
	None  = "none"  // nothing
)

// Defences are all of them.
var Defences = []string{Guard, Retry, None}

var limits = map[string]string{
	Guard: "{}",
	Retry: "{ quic_initials_per_prefix: { rate: 0 }, quic_initials: { rate: 0 }, quic_half_open: 0 }",
	None:  "{ quic_initials_per_prefix: { rate: 0 }, quic_initials: { rate: 0 }, quic_half_open: 0, quic_retry_above: 0, max_connections: 1000000 }",
}

// Options says what to do.
type Options struct {
	Binary   string   // nearcast
	Env      []string // for it, beyond this process's own
	Dir      string   // for its configuration, certificate and log
	Rate     int      // Initials a second
	Duration time.Duration
	Clients  int // a second
	Sources  []string
	Defences []string
	Seed     uint64
	Progress func(what string) // may be nil
}

// Row is what one flood did.
type Row struct {
	Source  string `json:"source"`
	Defence string `json:"defence"`
	Rate    int    `json:"rate"`

	Sent     int64 `json:"sent"`
	Received int64 `json:"received"` // datagrams that the edge looked at
	Passed   int64 `json:"passed"`   // of those, to QUIC
	Retries  int64 `json:"retries"`
	// CPU is the edge's time for each datagram received, less what the clients cost it before the flood; Steady is that after the first two seconds.
	CPU, Steady time.Duration
	// Kernel is the part of Steady that the kernel took.
	Kernel                            time.Duration
	RSSBefore, RSSAfter               int64 // bytes
	GoroutinesBefore, GoroutinesAfter int64
	Before, During                    Clients
}

// onset is how long a flood takes to use up what may come at once.
const onset = 2 * time.Second

// bench is one run.
type bench struct {
	o    Options
	quic *net.UDPAddr
	http string // the admin listener
	tls  *tls.Config
	in   *initials
	rnd  *rand.Rand
}

// Run makes all floods, each against an edge of its own.
func Run(ctx context.Context, o Options) ([]Row, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	b := &bench{o: o, rnd: rand.New(rand.NewPCG(o.Seed, 3))}
	if err := b.certify(); err != nil {
		return nil, err
	}
	var err error
	if b.in, err = newInitials(ctx, host); err != nil {
		return nil, err
	}
	var rows []Row
	for _, defence := range o.Defences {
		for _, source := range o.Sources {
			o.Progress(fmt.Sprintf("%d a second from %s, defence: %s", o.Rate, source, defence))
			row, err := b.flood(ctx, source, defence)
			if err != nil {
				return rows, fmt.Errorf("%s, %s: %w", source, defence, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// certify makes a certificate for the edge, and clients that trust it.
func (b *bench) certify() error {
	ca, err := pki.NewAuthority(time.Now(), "flood", 24*time.Hour)
	if err != nil {
		return err
	}
	b.tls = &tls.Config{RootCAs: ca.Pool(), ServerName: host, NextProtos: []string{"h3"}}
	return ca.Issue(host, []string{host}, nil, b.file("cert.pem"), b.file("key.pem"))
}

func (b *bench) file(name string) string { return filepath.Join(b.o.Dir, name) }

// configure writes the edge's configuration.
func (b *bench) configure(defence string) error {
	var ports [2]int
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	b.quic = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[0]}
	b.http = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	return os.WriteFile(b.file("edge.yaml"), fmt.Appendf(nil, `version: 1
edge: { name: flood, region: here }
listen: [{ address: "127.0.0.1:%d", tls: true }]
tls: { certificates: [{ cert_file: %q, key_file: %q }] }
regions: { here: { location: [50, 8] } }
services: { all: { hosts: [%q], origins: { here: ["http://127.0.0.1:9"] } } }
limits: %s
overload: { shed: false }
admin: { address: "127.0.0.1:%d" }
log: { level: error, access: "off" }
`, ports[0], b.file("cert.pem"), b.file("key.pem"), host, limits[defence], ports[1]), 0o600)
}

// flood starts an edge, and floods it.
func (b *bench) flood(ctx context.Context, source, defence string) (Row, error) {
	if err := b.configure(defence); err != nil {
		return Row{}, err
	}
	stop, pid, err := b.start()
	if err != nil {
		return Row{}, err
	}
	defer stop()
	if err := b.awaitReady(ctx); err != nil {
		return Row{}, fmt.Errorf("%w; the edge's log is %s", err, b.file("edge.log"))
	}
	m := &measure{bench: b, set: process.Set{PIDs: []int{pid}}, row: Row{Source: source, Defence: defence, Rate: b.o.Rate}}
	s, err := newSender(b.in, b.quic, b.o.Rate, source, b.rnd.Uint64())
	if err != nil {
		return Row{}, err
	}
	defer s.close()
	err = m.run(ctx, s)
	return m.row, err
}

// start starts the edge.
func (b *bench) start() (stop func(), pid int, err error) {
	log, err := os.Create(b.file("edge.log"))
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	cmd := exec.Command(b.o.Binary, "run", "-c", b.file("edge.yaml"))
	cmd.Env = append(os.Environ(), b.o.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	return sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}), cmd.Process.Pid, nil
}

// awaitReady connects until that works.
func (b *bench) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, time.Second)
		err := handshake(try, net.IPv4(127, 0, 0, 1), b.quic, b.tls)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the edge does not answer"), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
