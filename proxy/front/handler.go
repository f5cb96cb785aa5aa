package front

import (
	"context"
	"fmt"
	"net"
	"time"

	"nearcast/proxy/h1"
	"nearcast/proxy/h2"
	"nearcast/proxy/h3"
	"nearcast/proxy/message"
)

// handlerFunc is a function that is a message.Handler.
type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

// counted counts the requests in flight.
func (f *Front) counted(h message.Handler) message.Handler {
	return handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		f.inFlight.Add(1)
		f.m.inFlight.Inc()
		defer func() {
			f.m.inFlight.Dec()
			f.inFlight.Add(-1)
		}()
		h.Serve(ctx, w, r)
	})
}

// handlerFor is what a TCP listener serves: h, with what only the front knows.
func (f *Front) handlerFor(l *tcpListener, h message.Handler) message.Handler {
	if l.info.Redirect {
		h = redirecting(h, f.httpsPort())
	}
	if l.quic != nil {
		h = withAltSvc(h, l.quic)
	}
	return h
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

// redirecting marks each request as one whose client is to be sent to https; how is the handler's affair.
func redirecting(h message.Handler, port uint16) message.Handler {
	return handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		r.RedirectPort = port
		h.Serve(ctx, w, r)
	})
}

// withAltSvc tells clients that come over TCP of HTTP/3 on the same port (RFC 7838), and to forget it when that listener is dead.
func withAltSvc(h message.Handler, q *quicListener) message.Handler {
	value := fmt.Sprintf(`h3=":%d"; ma=%d`, q.info.Address.Port(), h3.AltSvcMaxAge/time.Second)
	return handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		v := value
		if q.dead.Load() {
			v = "clear"
		}
		h.Serve(ctx, &altSvcWriter{ResponseWriter: w, value: v}, r)
	})
}

type altSvcWriter struct {
	message.ResponseWriter
	value string
}

// WriteHeader replaces an origin's Alt-Svc, which speaks of other sockets than ours. fields may be the cache's: it is not changed.
func (w *altSvcWriter) WriteHeader(status int, fields message.Fields, length int64) error {
	if fields.Has("alt-svc") {
		fields = fields.Clone()
		fields.Set("alt-svc", w.value)
	} else {
		fields = append(fields[:len(fields):len(fields)], message.Field{Name: "alt-svc", Value: w.value})
	}
	return w.ResponseWriter.WriteHeader(status, fields, length)
}

// setHandler makes the listener's servers.
func (l *tcpListener) setHandler(h message.Handler, f *Front) error {
	l.h1 = h1.New(h, h1.Config{
		HeaderTimeout: f.limits.HeaderTimeout,
		IdleTimeout:   f.limits.IdleTimeout,
		MaxHeader:     int(f.limits.MaxHeaderSize),
		Log:           f.log,
	})
	l.h2 = h2.New(h, h2.Config{
		HeaderTimeout: f.limits.HeaderTimeout,
		IdleTimeout:   f.limits.IdleTimeout,
		MaxHeader:     int(f.limits.MaxHeaderSize),
		MaxStreams:    f.limits.MaxStreams,
		CountError:    l.m.h2Error,
		Log:           f.log,
	})
	return nil
}

// connInfo is what the socket knows of a connection.
func connInfo(c net.Conn) message.ConnInfo {
	return message.ConnInfo{Client: message.AddrPort(c.RemoteAddr()), Local: message.AddrPort(c.LocalAddr())}
}
