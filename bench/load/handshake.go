package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// handshaker makes one connection after another.
type handshaker struct {
	*run
	tally  tally
	form   h1Form
	target pick
	conf   *tls.Config
	ticket *ticketBox // nil for full handshakes
	cancel atomic.Pointer[context.CancelFunc]
}

// ticketBox keeps the newest ticket, and gives it out as often as it is asked for.
type ticketBox struct {
	state atomic.Pointer[tls.ClientSessionState]
}

func (b *ticketBox) Get(string) (*tls.ClientSessionState, bool) {
	s := b.state.Load()
	return s, s != nil
}

func (b *ticketBox) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		b.state.Store(s)
	}
}

func newHandshaker(r *run) *handshaker {
	w := &handshaker{run: r, tally: tally{book: r.book}, form: newH1Form(r.plan), conf: r.tls.Clone()}
	w.conf.MinVersion = tls.VersionTLS13
	if r.Handshakes == Resumed {
		w.ticket = new(ticketBox)
		w.conf.ClientSessionCache = w.ticket
	}
	return w
}

// open makes a full handshake, which gives the first ticket.
func (w *handshaker) open(ctx context.Context) error {
	_, err := w.shake(ctx)
	if w.ticket != nil && w.ticket.state.Load() == nil && (err == nil || classOf(err) == Timeout) {
		err = failed(TLS, "the server gave no ticket to resume with")
	}
	return err
}

func (w *handshaker) abort() {
	if cancel := w.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

func (w *handshaker) watch(time.Duration) {} // contexts bound the handshakes

func (w *handshaker) work(ctx context.Context) {
	now := w.now()
	for {
		t, ok := w.next(now)
		if !ok {
			break
		}
		resumed, err := w.shake(ctx)
		if err == nil && resumed != (w.ticket != nil) {
			err = failed(TLS, "the server made a full handshake instead of resuming")
		}
		if now = w.now(); err == nil {
			w.good(&w.tally, t, now, 0, 0)
		} else {
			w.failedWith(t, now, err, 0)
			if w.Rate == 0 {
				sleep(ctx, redial)
				now = w.now()
			}
		}
	}
	w.tally.flush()
}

// shake makes a connection and closes it.
func (w *handshaker) shake(ctx context.Context) (resumed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	w.cancel.Store(&cancel)
	if w.Protocol == HTTP3 {
		resumed, err = w.shakeQUIC(ctx)
	} else {
		resumed, err = w.shakeTCP(ctx)
	}
	if ctx.Err() == context.DeadlineExceeded {
		err = failed(Timeout, "no handshake in time")
	}
	return resumed, err
}

func (w *handshaker) shakeTCP(ctx context.Context) (bool, error) {
	nc, err := w.dial(ctx, "tcp", w.Address)
	if err != nil {
		return false, &failure{dialClass(err), err}
	}
	defer nc.Close()
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetLinger(0) // a reset leaves no port behind in TIME_WAIT, of which there would soon be none left
	}
	tc := tls.Client(nc, w.conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		return false, err
	}
	state := tc.ConnectionState()
	if got, want := state.NegotiatedProtocol, w.conf.NextProtos[0]; got != want && (got != "" || w.Protocol != HTTP1) {
		return false, &failure{TLS, &alpnError{want, got}}
	}
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	return state.DidResume, w.proof(tc)
}

// proof waits for a sign that the server has finished the handshake: its preface in HTTP/2, else a response.
func (w *handshaker) proof(tc *tls.Conn) error {
	if w.Protocol == HTTP1 {
		if _, err := tc.Write(w.form.append(nil, w.targets, w.target)); err != nil {
			return err
		}
	}
	var first [frameHeader]byte
	_, err := io.ReadFull(tc, first[:])
	return err
}

func (w *handshaker) shakeQUIC(ctx context.Context) (bool, error) {
	conn, err := quic.DialAddr(ctx, w.Address, w.conf, quicConfig(w.idleQUIC()))
	if err != nil {
		return false, err
	}
	defer conn.CloseWithError(h3NoError, "")
	// The server opens its control stream when the connection is its handler's.
	if _, err := conn.AcceptUniStream(ctx); err != nil {
		return false, err
	}
	// The first ticket may come a moment later.
	for w.ticket != nil && w.ticket.state.Load() == nil && ctx.Err() == nil && conn.Context().Err() == nil {
		sleep(ctx, time.Millisecond)
	}
	return conn.ConnectionState().TLS.DidResume, nil
}
