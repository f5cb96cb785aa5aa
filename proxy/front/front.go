package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/h1"
	"nearcast/proxy/h2"
	"nearcast/proxy/h3"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/replay"
	"nearcast/proxy/message"
)

// Listener describes one open socket, as a self-probe needs it.
type Listener struct {
	Name      string             // as configured, such as ":443"; the metric label
	Address   netip.AddrPort     // as bound: the port is the real one, the address may be unspecified
	Protocols []message.Protocol // what it serves; HTTP3 is UDP, the others TCP
	TLS       bool
	Redirect  bool // its requests carry the port to send their clients to
	// Proxies are the addresses from which a connection must begin with a PROXY protocol header. Do not modify.
	Proxies []netip.Prefix
}

// Front is the set of open listeners.
//
//	Open ──> Run ──────────────────────────────────────────> Run returns
//	           └─ Drain: clients are told to leave            │
//	                └─ Close: nothing is accepted any more, ──┘
//	                   requests in flight end, the rest is cut
type Front struct {
	// immutable
	log    *slog.Logger
	limits LimitsConfig
	fleet  Fleet
	m      *frontMetrics
	certs  *certificates    // nil when no listener has TLS
	replay *replay.Register // nil when no early data is taken
	tcp    []*tcpListener
	quic   []*quicListener

	// shared
	open      atomic.Int64 // client connections
	early     atomic.Int64 // those of TCP that have not begun to speak HTTP
	addresses *addresses
	guard     *flood.Guard  // of all QUIC listeners; nil without any
	stopping  chan struct{} // closed when nothing is to be accepted any more
	done      chan struct{} // closed when Run has ended

	mu       sync.Mutex
	handlers []*handler              // of the listeners
	cancel   context.CancelCauseFunc // cuts every connection; nil before Run
	cutEarly context.CancelFunc      // cuts those that have not begun to speak HTTP
	draining bool
	stopped  bool             // stopping is closed
	dead     map[string]error // by listener
}

// tcpListener serves HTTP/1.1 and HTTP/2.
type tcpListener struct {
	info   Listener
	ln     net.Listener
	tls    *tls.Config // nil on a plain listener
	m      *listenerMetrics
	quic   *quicListener // on the port of the same number, nil when there is none
	altSvc string        // for its responses

	// set by Run before anything is accepted
	h1 *h1.Server
	h2 *h2.Server

	closing atomic.Bool // the end of Accept is no death
}

// quicListener serves HTTP/3.
type quicListener struct {
	info Listener
	m    *listenerMetrics
	srv  *h3.Server
	h    *handler // set by Run
	dead atomic.Bool
}

// Open reads the certificates and opens every socket. All that can fail, fails here: the error joins one sentence for each problem.
// TCP connections wait in the kernel until Run.
func Open(cfg []ListenConfig, tlsCfg TLSConfig, limits LimitsConfig, log *slog.Logger, set *metrics.Set) (*Front, error) {
	return OpenInFleet(Fleet{}, cfg, tlsCfg, limits, log, set)
}

// OpenInFleet is Open for an edge that is not alone.
func OpenInFleet(fleet Fleet, cfg []ListenConfig, tlsCfg TLSConfig, limits LimitsConfig, log *slog.Logger, set *metrics.Set) (*Front, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Front{log: log, limits: limits, fleet: fleet, dead: map[string]error{}, stopping: make(chan struct{}), done: make(chan struct{})}
	f.addresses = newAddresses(&f.limits, time.Now)
	f.m = newFrontMetrics(set, f.requestsInFlight, f.addresses.size)
	var errs []error
	if needTLS(cfg) {
		var err error
		if f.certs, err = loadCertificates(tlsCfg, time.Now(), log, f.m.set); err != nil {
			errs = append(errs, err)
		} else if err := f.certs.join(fleet); err != nil {
			errs = append(errs, err)
		}
		f.replay = f.replayRegister(&tlsCfg)
	}
	for i := range cfg {
		if cfg[i].TLS && f.certs == nil {
			continue
		}
		if err := f.listen(i, &cfg[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		f.closeSockets()
		return nil, err
	}
	return f, nil
}

func needTLS(cfg []ListenConfig) bool {
	for i := range cfg {
		if cfg[i].TLS {
			return true
		}
	}
	return false
}

// Run serves h until ctx ends, which cuts every connection, or until Close is done. It returns when all its goroutines have.
// It can be called once.
func (f *Front) Run(ctx context.Context, h message.Handler) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	early, cutEarly := context.WithCancel(ctx)
	defer cutEarly()
	if err := f.begin(h, cancel, cutEarly); err != nil {
		return err
	}
	defer close(f.done)
	defer context.AfterFunc(ctx, f.closeSockets)()

	var work sync.WaitGroup
	for _, l := range f.tcp {
		work.Go(func() { f.runTCP(ctx, early, l, &work) })
	}
	for _, l := range f.quic {
		work.Go(func() { f.runQUIC(ctx, l) })
	}
	if f.certs != nil {
		work.Go(func() { f.certs.watch(ctx, f.stopping) })
	}
	select { // not only when the last listener has died
	case <-ctx.Done():
	case <-f.stopping:
	}
	work.Wait()
	return nil
}

// Listeners describes the open sockets.
func (f *Front) Listeners() []Listener {
	var all []Listener
	for _, l := range f.tcp {
		all = append(all, l.info)
	}
	for _, l := range f.quic {
		all = append(all, l.info)
	}
	return all
}

// Healthy is nil while every listener accepts, else it names those that died. A listener that Close ended is healthy.
func (f *Front) Healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for name, err := range f.dead {
		errs = append(errs, fmt.Errorf("listener %s is dead: %w", name, err))
	}
	return errors.Join(errs...)
}

// died remembers that a listener ended by itself. The others go on; the edge's probe of itself decides what that means.
func (f *Front) died(name string, err error) {
	f.log.Error("a listener died and accepts no more connections; the others go on; restart the edge",
		"listener", name, "error", err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead[name] = err
}
