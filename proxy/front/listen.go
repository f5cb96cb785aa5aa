package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"nearcast/proxy/h3"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/replay"
	"nearcast/proxy/message"
)

// portTries is how often a port that the kernel chose for TCP may turn out to be taken for UDP.
const portTries = 10

// listen opens the sockets of cfg, which is the i-th, and adds them.
func (f *Front) listen(i int, cfg *ListenConfig) error {
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return fmt.Errorf("listen[%d].address %q is not host:port", i, cfg.Address)
	}
	for try := 1; ; try++ {
		ln, err := plainTCP().Listen(context.Background(), network("tcp", host), cfg.Address)
		if err != nil {
			return listenError(i, cfg, "TCP", err)
		}
		l := &tcpListener{ln: ln, m: f.m.listener(cfg.Address), info: Listener{
			Name: cfg.Address, Address: message.AddrPort(ln.Addr()), Protocols: []message.Protocol{message.HTTP1, message.HTTP2},
			TLS: cfg.TLS, Redirect: cfg.RedirectToHTTPS}}
		l.altSvc = cfg.altSvc(l.info.Address.Port())
		if cfg.ProxyProtocol != nil {
			l.info.Proxies = cfg.ProxyProtocol.From
		}
		if cfg.TLS {
			l.tls = f.certs.tcp
		}
		if cfg.ServeHTTP3() {
			l.quic, err = f.listenQUIC(cfg, host, l)
			if err != nil {
				ln.Close()
				if port == "0" && errors.Is(err, syscall.EADDRINUSE) && try < portTries {
					continue
				}
				return listenError(i, cfg, "UDP", err)
			}
			f.quic = append(f.quic, l.quic)
		}
		f.tcp = append(f.tcp, l)
		return nil
	}
}

// plainTCP listens without Multipath TCP, which Go turns on by itself: a further subflow to an anycast address may end at another edge,
// and the kernel puts no filter on such a listener (see Pause).
func plainTCP() *net.ListenConfig {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return &lc
}

func (f *Front) listenQUIC(cfg *ListenConfig, host string, l *tcpListener) (*quicListener, error) {
	address := net.JoinHostPort(host, strconv.Itoa(int(l.info.Address.Port())))
	sockets, err := listenUDP(network("udp", host), address, cfg.quicSockets())
	if err != nil {
		return nil, err
	}
	q := &quicListener{m: l.m, info: Listener{
		Name: cfg.Address, Address: message.AddrPort(sockets[0].LocalAddr()), Protocols: []message.Protocol{message.HTTP3}, TLS: true}}
	if f.guard == nil {
		f.guard = flood.New(f.limits.guard(), time.Now(), flood.NewMetrics(f.m.set))
	}
	q.srv, err = h3.Listen(sockets, h3.Config{
		TLS:              f.certs.quic,
		Fleet:            f.h3Fleet(),
		HandshakeTimeout: f.limits.HeaderTimeout,
		HeaderTimeout:    f.limits.HeaderTimeout,
		IdleTimeout:      f.limits.IdleTimeout,
		Pace:             f.limits.pace(),
		MaxHeader:        int(f.limits.MaxHeaderSize),
		MaxStreams:       f.limits.MaxStreams,
		EarlyData:        f.certs.earlyData,
		Replay:           f.replay,
		CountError:       f.m.breaches[message.HTTP3],
		Log:              f.log,
		Guard:            f.guard,
		Metrics:          f.m.set,
		Name:             cfg.Address,
		Events: h3.Events{
			Admit:           func(client netip.AddrPort) bool { return f.admit(q.m, client.Addr(), true) },
			Accepted:        func() { q.m.accepted[message.HTTP3].Inc() },
			HandshakeFailed: func(err error) { q.m.handshakeFailed(err) },
			Closed:          func(client netip.AddrPort) { f.release(q.m, client.Addr()) },
		},
	})
	if err != nil {
		closeAll(sockets)
		return nil, err
	}
	return q, nil
}

func closeAll(sockets []*net.UDPConn) {
	for _, s := range sockets {
		s.Close()
	}
}

// replayRegister is the one of all QUIC listeners; nil when none takes early data. Tickets that are older than this process can be read where
// others have their keys too.
func (f *Front) replayRegister(cfg *TLSConfig) *replay.Register {
	if !cfg.EarlyData {
		return nil
	}
	c := replay.Config{MaxAge: cfg.EarlyDataMaxAge, Metrics: f.m.set}
	if f.fleet.Keys != nil {
		c.Since = time.Now()
	}
	return replay.New(c)
}

// h3Fleet is what a QUIC listener shares; nil when that is nothing.
func (f *Front) h3Fleet() *h3.Fleet {
	if f.fleet.Keys == nil {
		return nil
	}
	return &h3.Fleet{Keys: f.fleet.Keys, Rescue: f.fleet.Rescue}
}

// network restricts a literal unspecified address to its own family; Go would take both. Without a host, both are meant.
func network(proto, host string) string {
	switch a, err := netip.ParseAddr(host); {
	case err != nil || !a.IsUnspecified():
		return proto
	case a.Is4():
		return proto + "4"
	default:
		return proto + "6"
	}
}

// listenError says what is wrong with an address and what to do.
func listenError(i int, cfg *ListenConfig, proto string, err error) error {
	what := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		what = "the port is in use by another process; stop that one or choose another port"
	case errors.Is(err, os.ErrPermission):
		what = "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		what = "this machine does not have the address; add it to an interface (an anycast address to the loopback) first"
	default:
		return fmt.Errorf("listen[%d].address %q (%s): %w", i, cfg.Address, proto, err)
	}
	return &socketError{msg: fmt.Sprintf("listen[%d].address %q (%s): %s", i, cfg.Address, proto, what), err: err}
}

// socketError replaces the kernel's words by ours and still is what it was to errors.Is.
type socketError struct {
	msg string
	err error
}

func (e *socketError) Error() string { return e.msg }
func (e *socketError) Unwrap() error { return e.err }

// closeSockets ends all listeners at once.
func (f *Front) closeSockets() {
	for _, l := range f.tcp {
		l.closing.Store(true)
		l.ln.Close()
	}
	f.mu.Lock()
	running := f.cancel != nil
	f.mu.Unlock()
	for _, l := range f.quic {
		if running {
			l.srv.StopAccepting() // Serve closes the rest
		} else {
			l.srv.Close()
		}
	}
}
