package front

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// SelfProbePath is the one path that a redirecting listener hands to the handler too, so that the edge can ask itself
// through every listener whether it serves.
const SelfProbePath = "/.well-known/nearcast/self"

// Listener describes one open socket, as a self-probe needs it.
type Listener struct {
	Name      string             // as configured, such as ":443"; the metric label
	Address   netip.AddrPort     // as bound: the port is the real one, the address may be unspecified
	Protocols []message.Protocol // what it serves; HTTP3 is UDP, the others TCP
	TLS       bool
	Redirect  bool // only SelfProbePath reaches the handler
}

// Front is the set of open listeners. Its life is Open, Run, Drain, Close.
type Front struct{}

// Open reads the certificates and opens every socket. All that can fail, fails here: the error joins one sentence for each problem.
// Nothing is accepted before Run.
func Open(cfg []ListenConfig, tlsCfg TLSConfig, limits LimitsConfig, log *slog.Logger, set *metrics.Set) (*Front, error) {
	return &Front{}, nil
}

// Run serves h until ctx ends, which cuts every connection, or until Close is done. It returns when all its goroutines have.
func (f *Front) Run(ctx context.Context, h message.Handler) error { <-ctx.Done(); return nil }

// Listeners describes the open sockets.
func (f *Front) Listeners() []Listener { return nil }

// Healthy is nil while every listener accepts, else it names those that died.
func (f *Front) Healthy() error { return nil }

// Drain tells every client to finish: GOAWAY on HTTP/2 and HTTP/3, "Connection: close" with the next HTTP/1.1 response.
// The listeners go on accepting, and each new connection is told the same after its first request. It does not block.
// Call it after the routes were withdrawn and the routers had time to settle: a client that leaves earlier comes back here.
func (f *Front) Drain() {}

// Close begins Drain if nobody did, stops accepting, waits until the requests in flight are done or ctx ends,
// and closes everything. It returns the number of requests that were cut.
func (f *Front) Close(ctx context.Context) (cut int) { return 0 }
