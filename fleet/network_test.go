package fleet

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/VictoriaMetrics/metrics"
)

const (
	secretA = "0123456789abcdefghijklmnopqrstuvwxyzAAAA"
	secretB = "0123456789abcdefghijklmnopqrstuvwxyzBBBB"
)

var (
	nycAddr = netip.MustParseAddrPort("198.51.100.18:9181")
	fraAddr = netip.MustParseAddrPort("198.51.100.2:9181")
	tyoAddr = netip.MustParseAddrPort("[2001:db8:3::2]:9181")
	v4      = netip.MustParsePrefix("192.0.2.0/24")
	v6      = netip.MustParsePrefix("2001:db8:53::/48")
)

// network connects fakes of sockets within a test's bubble.
type network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*pipeListener
}

func newNetwork() *network { return &network{listeners: make(map[netip.AddrPort]*pipeListener)} }

func (n *network) listen(at netip.AddrPort) *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = l
	return l
}

// lead makes an address lead to where another does.
func (n *network) lead(at, to netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = n.listeners[to]
}

// cut makes packets to an address vanish.
func (n *network) cut(at netip.AddrPort) {
	n.mu.Lock()
	l := n.listeners[at]
	delete(n.listeners, at)
	n.mu.Unlock()
	if l != nil {
		l.freeze()
	}
}

// dialer connects from an address.
func (n *network) dialer(from netip.AddrPort) dialer {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return n.dial(ctx, from, to) }
}

func (n *network) dial(ctx context.Context, from, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[to]
	n.mu.Unlock()
	if l == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	c := &cuttable{Conn: here, cut: make(chan struct{})}
	l.mu.Lock()
	l.given = append(l.given, c)
	l.mu.Unlock()
	select {
	case l.conns <- comingFrom{there, net.TCPAddrFromAddrPort(from)}:
		return c, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	given []*cuttable
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(fraAddr) }

func (l *pipeListener) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.given {
		c.once.Do(func() { close(c.cut) })
	}
}

// comingFrom is a connection with the address of its other end.
type comingFrom struct {
	net.Conn
	from net.Addr
}

func (c comingFrom) RemoteAddr() net.Addr { return c.from }

// cuttable is a connection that swallows bytes once it is cut.
type cuttable struct {
	net.Conn
	cut  chan struct{}
	once sync.Once
}

func (c *cuttable) Write(b []byte) (int, error) {
	select {
	case <-c.cut:
		return len(b), nil
	default:
		return c.Conn.Write(b)
	}
}

// secretFile writes a file with one secret a line.
func secretFile(t *testing.T, secrets ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fleet.key")
	if err := os.WriteFile(file, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// ring is the keyring of those secrets.
func ring(t *testing.T, secrets ...string) *keyring {
	t.Helper()
	k, err := newKeyring(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// edge is a fleet in a test, with what it logged and counted.
type edge struct {
	*Fleet
	log  *logBuffer
	set  *metrics.Set
	stop func()
}

// logBuffer may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

func testConfig() *Config {
	c := new(Config)
	c.SetDefaults()
	return c
}

// edge starts an edge that answers at an address of the network and asks the targets.
func (n *network) edge(t *testing.T, at netip.AddrPort, name, region string, targets ...Target) *edge {
	t.Helper()
	return n.edgeWith(t, at, name, region, []string{secretA}, targets...)
}

func (n *network) edgeWith(t *testing.T, at netip.AddrPort, name, region string, secrets []string, targets ...Target) *edge {
	t.Helper()
	e := &edge{log: new(logBuffer), set: metrics.NewSet()}
	log := testLog(e)
	keys, err := openKeyFile(secretFile(t, secrets...), true, log, e.set)
	if err != nil {
		t.Fatal(err)
	}
	targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Address == at })
	e.Fleet = newFleet(testConfig(), Identity{Edge: name, Region: region, Software: "test"}, targets, parts{keys, n.listen(at), n.dialer(at)}, log, e.set)
	e.start(t)
	return e
}

// start runs the fleet until stop or the end of the test.
func (e *edge) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
}

// peer is what an edge knows of an address.
func (e *edge) peer(t *testing.T, at netip.AddrPort) *Peer {
	t.Helper()
	for _, p := range e.View().Peers {
		if p.Address == at {
			return p
		}
	}
	t.Fatalf("%s is no peer", at)
	return nil
}

func (e *edge) want(t *testing.T, at netip.AddrPort, state State, outcome Outcome, why string) *Peer {
	t.Helper()
	synctest.Wait()
	p := e.peer(t, at)
	if p.State != state || p.Outcome != outcome {
		t.Fatalf("%s: %s is %s after %s (%v), want %s after %s", why, at, p.State, p.Outcome, p.Err, state, outcome)
	}
	return p
}

// all are the three addresses that tests use.
var all = []Target{{"fra", fraAddr}, {"nyc", nycAddr}, {"tyo", tyoAddr}}

func (e *edge) text() string {
	var b bytes.Buffer
	e.set.WritePrometheus(&b)
	return b.String()
}

func testLog(e *edge) *slog.Logger {
	return slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
