package load

import (
	"bufio"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Error codes (RFC 9114 §8.1).
const (
	h3NoError          = 0x100
	h3RequestRejected  = 0x10b
	h3RequestCancelled = 0x10c
)

// h3Link is one HTTP/3 connection.
type h3Link struct {
	conn    *quic.Conn
	leaving atomic.Bool // the server wants no more requests on it
	readers sync.WaitGroup
}

// quicConfig has windows so large that the server never waits for them.
func quicConfig(idle time.Duration) *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow: 16 << 20, MaxStreamReceiveWindow: 64 << 20,
		InitialConnectionReceiveWindow: 64 << 20, MaxConnectionReceiveWindow: 256 << 20,
		MaxIncomingUniStreams: 16, MaxIncomingStreams: -1, MaxIdleTimeout: idle,
	}
}

// dialQUIC connects and opens the control stream (RFC 9114 §6.2.1).
func (p *plan) dialQUIC(ctx context.Context, idle time.Duration) (*h3Link, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	conn, err := quic.DialAddr(ctx, p.Address, p.tls, quicConfig(idle))
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = failed(Timeout, "no answer to the handshake in %v", p.Timeout)
		}
		return nil, err
	}
	l := &h3Link{conn: conn}
	control, err := conn.OpenUniStream()
	if err == nil {
		_, err = control.Write([]byte{0, h3Settings, 0})
	}
	if err != nil {
		l.close()
		return nil, err
	}
	l.readers.Go(l.accept)
	return l, nil
}

// accept reads what the server sends on streams of its own.
func (l *h3Link) accept() {
	for {
		s, err := l.conn.AcceptUniStream(l.conn.Context())
		if err != nil {
			return
		}
		l.readers.Go(func() { l.readControl(s) })
	}
}

// readControl looks for a GOAWAY on the control stream. What else comes is dropped.
func (l *h3Link) readControl(s *quic.ReceiveStream) {
	r := bufio.NewReaderSize(s, 64)
	if kind, err := quicvarint.Read(r); err != nil || kind != 0 {
		io.Copy(io.Discard, r)
		return
	}
	for {
		kind, err := quicvarint.Read(r)
		if err != nil {
			return
		}
		length, err := quicvarint.Read(r)
		if err != nil {
			return
		}
		if kind == h3GoAway {
			l.leaving.Store(true)
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return
		}
	}
}

// usable reports that requests may be made on it.
func (l *h3Link) usable() bool { return !l.leaving.Load() && l.conn.Context().Err() == nil }

// close ends the connection and waits for its readers.
func (l *h3Link) close() {
	l.conn.CloseWithError(h3NoError, "")
	l.readers.Wait()
}
