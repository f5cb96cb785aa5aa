package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
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

// runTCP accepts on l until it is closed, and starts each connection on work. early ends the connections that have not spoken HTTP yet.
func (f *Front) runTCP(ctx, early context.Context, l *tcpListener, work *sync.WaitGroup) {
	err := f.accept(ctx, l, func(c net.Conn) {
		work.Go(func() {
			defer f.release(l.m)
			f.serveTCP(ctx, early, l, c)
		})
	})
	l.ln.Close()
	if err != nil {
		f.died(l.info.Name+" (TCP)", err)
	}
}

// accept hands connections to serve until the listener is closed. It returns the error that no connection will ever come after.
func (f *Front) accept(ctx context.Context, l *tcpListener, serve func(net.Conn)) error {
	pause := firstAcceptPause
	for {
		c, err := l.ln.Accept()
		if err == nil {
			pause = firstAcceptPause
			if f.admit(l.m) {
				serve(c)
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
		syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH:
		return acceptAborted, true
	}
	return acceptOther, false
}

// admit counts a connection in, unless there are as many as there may be.
func (f *Front) admit(m *listenerMetrics) bool {
	if n := f.open.Add(1); f.limits.MaxConnections > 0 && n > int64(f.limits.MaxConnections) {
		f.open.Add(-1)
		m.refused.Inc()
		return false
	}
	m.open.Inc()
	return true
}

func (f *Front) release(m *listenerMetrics) {
	m.open.Dec()
	f.open.Add(-1)
}

// serveTCP finds out what c speaks and serves that until it ends.
func (f *Front) serveTCP(ctx, early context.Context, l *tcpListener, c net.Conn) {
	defer c.Close()
	endEarly := context.AfterFunc(early, func() { c.Close() })
	defer endEarly()
	info := connInfo(c)
	conn, http2 := c, false
	var err error
	if f.limits.HeaderTimeout > 0 {
		_ = c.SetDeadline(time.Now().Add(f.limits.HeaderTimeout))
	}
	if l.tls != nil {
		tc := tls.Server(c, l.tls)
		if err = tc.HandshakeContext(early); err == nil {
			state := tc.ConnectionState()
			info.TLS = &message.TLS{Version: state.Version, ServerName: state.ServerName, Resumed: state.DidResume}
			conn, http2 = tc, state.NegotiatedProtocol == "h2"
		} else {
			l.m.handshakeFailed(err)
			answerPlain(err)
		}
	} else {
		conn, http2, err = sniff(c, nil)
	}
	if err != nil || !endEarly() {
		return
	}
	_ = c.SetDeadline(time.Time{})
	if http2 {
		l.m.accepted[message.HTTP2].Inc()
		l.h2.ServeConn(ctx, conn, info)
	} else {
		l.m.accepted[message.HTTP1].Inc()
		l.h1.ServeConn(ctx, conn, info)
	}
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
