package front

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"nearcast/proxy/h1"
	"nearcast/proxy/h2"
	"nearcast/proxy/message"
)

// handler is what one listener's servers serve: the handler of Run, told what only the front knows, and counted while it is at work.
type handler struct {
	// immutable
	next    message.Handler
	quick   message.QuickHandler // next, or nil when that isn't one
	refuser message.Refuser      // likewise
	mark    marks

	// shared; each listener counts for itself, so that processors that serve different ones do not fight for one cache line.
	inFlight atomic.Int64
}

// marks is what a listener writes into its requests.
type marks struct {
	redirectPort uint16        // not 0 where clients are to be sent to https
	altSvc       string        // tells of HTTP/3 on the same port (RFC 7838), or that there is none any more; "" to say nothing
	quic         *quicListener // the listener that altSvc tells of; nil when it tells of none
}

func newHandler(h message.Handler, m marks) *handler {
	w := &handler{next: h, mark: m}
	w.quick, _ = h.(message.QuickHandler)
	w.refuser, _ = h.(message.Refuser)
	return w
}

// write marks a request.
func (m *marks) write(r *message.Request) {
	r.RedirectPort = m.redirectPort
	r.AltSvc = m.altSvc
	if m.quic != nil && m.quic.dead.Load() {
		r.AltSvc = altSvcClear
	}
}

// Serve implements message.Handler.
func (h *handler) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	h.inFlight.Add(1)
	defer h.inFlight.Add(-1)
	h.mark.write(r)
	h.next.Serve(ctx, w, r)
}

// Quick implements message.QuickHandler. The request is in flight until its answer is done.
func (h *handler) Quick(r *message.Request) *message.Ready {
	if h.quick == nil {
		return nil
	}
	h.mark.write(r)
	a := h.quick.Quick(r)
	if a == nil {
		return nil
	}
	h.inFlight.Add(1)
	f := flights.Get().(*flight)
	f.handler, f.owner, a.Owner = h, a.Owner, f
	return a
}

// Refused implements message.Refuser.
func (h *handler) Refused(x message.Refusal) {
	if h.refuser != nil {
		h.refuser.Refused(x)
	}
}

// flight stands between a ready answer and its owner, to be told of the end too.
type flight struct {
	handler *handler
	owner   message.ReadyOwner
}

var flights = sync.Pool{New: func() any { return new(flight) }}

// Done implements message.ReadyOwner.
func (f *flight) Done(a *message.Ready, sent int64, complete bool) {
	h := f.handler
	a.Owner = f.owner
	*f = flight{}
	flights.Put(f)
	defer h.inFlight.Add(-1) // also after a panic
	a.Done(sent, complete)
}

// requestsInFlight counts over all listeners.
func (f *Front) requestsInFlight() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.handlers {
		n += h.inFlight.Load()
	}
	return n
}

// handlerFor is what a listener serves: h, with what only the front knows. The caller holds the lock.
func (f *Front) handlerFor(h message.Handler, m marks) *handler {
	w := newHandler(h, m)
	f.handlers = append(f.handlers, w)
	return w
}

// marks are what a TCP listener writes into its requests.
func (f *Front) marks(l *tcpListener) (m marks) {
	if l.info.Redirect {
		m.redirectPort = f.httpsPort()
	}
	if m.altSvc = l.altSvc; m.altSvc != "" {
		m.quic = l.quic
	}
	return m
}

// httpsPort is the port that clients find TLS on.
func (f *Front) httpsPort() uint16 {
	for _, l := range f.tcp {
		if l.info.TLS {
			return l.info.Address.Port()
		}
	}
	return 443
}

// setHandler makes the listener's servers.
func (l *tcpListener) setHandler(h *handler, f *Front) {
	l.h1 = h1.New(h, h1.Config{
		HeaderTimeout: f.limits.HeaderTimeout,
		IdleTimeout:   f.limits.IdleTimeout,
		Pace:          f.limits.pace(),
		MaxHeader:     int(f.limits.MaxHeaderSize),
		CountError:    f.m.breaches[message.HTTP1],
		Log:           f.log,
	})
	l.h2 = h2.New(h, h2.Config{
		HeaderTimeout: f.limits.HeaderTimeout,
		IdleTimeout:   f.limits.IdleTimeout,
		Pace:          f.limits.pace(),
		MaxHeader:     int(f.limits.MaxHeaderSize),
		MaxStreams:    f.limits.MaxStreams,
		CountError:    f.m.breaches[message.HTTP2],
		Log:           f.log,
	})
}

// connInfo is what the socket knows of a connection.
func connInfo(c net.Conn) message.ConnInfo {
	return message.ConnInfo{Client: message.AddrPort(c.RemoteAddr()), Local: message.AddrPort(c.LocalAddr())}
}
