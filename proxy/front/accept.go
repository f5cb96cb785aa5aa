package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"nearcast/proxy/message"
)

// Pauses of an accept loop that the system gives no connection to.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// guest is a connection that was accepted.
type guest struct {
	conn net.Conn
	// counts is the address that it counts for; invalid while it is not known, and for a load balancer's own connections.
	counts netip.Addr
	// named is true when the peer is a load balancer, which must say whose connection it is.
	named bool
	early bool // it has not begun to speak HTTP, and counts for those
}

// runTCP accepts on l until it is closed, and starts each connection on work. early ends the connections that have not spoken HTTP yet.
func (f *Front) runTCP(ctx, early context.Context, l *tcpListener, work *sync.WaitGroup) {
	err := f.accept(ctx, l, func(g *guest) {
		work.Go(func() {
			if s := f.meetTCP(ctx, early, l, g); s != nil {
				f.attend(s, work, l.m, g)
			} else {
				g.conn.Close()
				f.farewell(l.m, g)
			}
		})
	})
	l.ln.Close()
	if err != nil {
		f.died(l.info.Name+" (TCP)", err)
	}
}

// accept hands connections to serve until the listener is closed. It returns the error that no connection will ever come after.
func (f *Front) accept(ctx context.Context, l *tcpListener, serve func(*guest)) error {
	pause := firstAcceptPause
	for {
		c, err := l.ln.Accept()
		if err == nil {
			pause = firstAcceptPause
			if g := f.welcome(l, c); g != nil {
				serve(g)
			} else {
				c.Close()
			}
			continue
		}
		if l.closing.Load() {
			return nil
		}
		reason, passing := acceptReason(err)
		l.m.acceptErrors[reason].Inc()
		if !passing {
			return err
		}
		f.log.Warn("a connection could not be accepted", "listener", l.info.Name, "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

// acceptReason sorts an error of accept: its word for the metric, and whether waiting helps.
// What is passing is what accept(2) tells to treat so, besides exhausted resources.
func acceptReason(err error) (reason string, passing bool) {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return acceptOther, errors.Is(err, os.ErrDeadlineExceeded)
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE:
		return acceptNoFiles, true
	case syscall.ENOBUFS, syscall.ENOMEM:
		return acceptNoMemory, true
	case syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.ETIMEDOUT, syscall.EPERM, syscall.EINTR, syscall.EAGAIN,
		syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, errNoNet, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH:
		return acceptAborted, true
	}
	return acceptOther, false
}

// attend serves a connection to its end. When it rests, a new goroutine of work takes over.
func (f *Front) attend(s message.Session, work *sync.WaitGroup, m *listenerMetrics, g *guest) {
	if s.Serve() {
		work.Go(func() { f.attend(s, work, m, g) })
		return
	}
	g.conn.Close()
	f.farewell(m, g)
}

// meetTCP finds out what the connection speaks and begins to serve that; nil when it came to nothing.
func (f *Front) meetTCP(ctx, early context.Context, l *tcpListener, g *guest) message.Session {
	c := g.conn
	endEarly := context.AfterFunc(early, func() { c.Close() })
	defer endEarly()
	info := connInfo(c)
	info.Accepted = time.Now()
	if f.limits.HeaderTimeout > 0 {
		_ = c.SetDeadline(info.Accepted.Add(f.limits.HeaderTimeout))
	}
	ahead, ok := f.meet(l, g, &info)
	if !ok {
		return nil
	}
	conn, http2, err := l.begin(c, ahead, &info)
	if err != nil || !endEarly() {
		return nil
	}
	_ = c.SetDeadline(time.Time{})
	f.settle(g)
	if http2 {
		l.m.accepted[message.HTTP2].Inc()
		return l.h2.Open(ctx, conn, info)
	}
	l.m.accepted[message.HTTP1].Inc()
	return l.h1.Open(ctx, conn, info)
}

// meet learns from a load balancer whose connection it is. ahead is what was read of the connection after that.
func (f *Front) meet(l *tcpListener, g *guest, info *message.ConnInfo) (ahead []byte, ok bool) {
	if !g.named {
		return nil, true
	}
	h, ahead, err := readProxyHeader(g.conn)
	if err != nil {
		l.m.refused[refusedHeader].Inc()
		f.log.Debug("a load balancer sent no PROXY protocol header", "listener", l.info.Name, "from", info.Client, "error", err)
		return nil, false
	}
	if !h.client.IsValid() {
		return ahead, true
	}
	info.Client, info.Local = h.client, h.server
	if !f.admitAddress(l.m, h.client.Addr(), l.tls != nil) {
		return nil, false
	}
	g.counts = h.client.Addr()
	return ahead, true
}

// begin does the TLS handshake where there is one, and tells the two versions of HTTP apart.
func (l *tcpListener) begin(c net.Conn, ahead []byte, info *message.ConnInfo) (conn net.Conn, http2 bool, err error) {
	if l.tls == nil {
		return sniff(c, ahead)
	}
	below := &corkable{Conn: c, ahead: ahead}
	tc := tls.Server(below, l.tls)
	if err := tc.Handshake(); err != nil {
		l.m.handshakeFailed(err)
		answerPlain(err)
		return nil, false, err
	}
	state := tc.ConnectionState()
	info.TLS = &message.TLS{Version: state.Version, ServerName: state.ServerName, Resumed: state.DidResume}
	info.Corker = below
	return tc, state.NegotiatedProtocol == "h2", nil
}

// answerPlain tells a client that spoke plain HTTP to a TLS socket what is wrong, as it could not tell by itself.
func answerPlain(err error) {
	var rec tls.RecordHeaderError
	if errors.As(err, &rec) && rec.Conn != nil && looksLikeHTTP(rec.RecordHeader[:]) {
		_, _ = rec.Conn.Write([]byte("HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
			"This port serves HTTPS, not plain HTTP.\n"))
	}
}

func looksLikeHTTP(start []byte) bool {
	switch string(start) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

// runQUIC serves HTTP/3 on l until it is closed.
func (f *Front) runQUIC(ctx context.Context, l *quicListener) {
	if err := l.srv.Serve(ctx, l.h); err != nil {
		l.dead.Store(true)
		f.died(l.info.Name+" (UDP)", err)
	}
}
