package upstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"nearcast/proxy/message"
)

var errProtocol = errors.New("a change to a protocol that was not asked for")

// switched takes a 101 (RFC 9110 §15.2.2).
func (x *exchange) switched() error {
	asked := x.a.Request.Upgrade
	if asked == "" || x.head.Upgrade != asked {
		return errProtocol
	}
	x.c.answer()
	fields, err := acceptance(x.key, x.head.Fields)
	if err != nil {
		return err
	}
	x.c.begin(time.Time{})
	early := bytes.Clone(x.b[x.r:x.w])
	x.release()
	x.b = nil
	t := &tunnel{x: x, early: early}
	x.Response = Response{
		Status: http.StatusSwitchingProtocols, Fields: fields, Body: t, ContentLength: -1, Tunnel: t,
		Peer: x.c.peer, Protocol: message.HTTP1,
	}
	t.c = x.c
	return nil
}

// tunnel is a connection that speaks another protocol now.
type tunnel struct {
	x     *exchange
	c     *conn
	early []byte // came with the 101; the reader's alone
	once  sync.Once
}

func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(p, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	return t.c.Conn.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.c.Conn.Write(p) }

// CloseWrite sends a FIN, through TLS a close_notify.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.c.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (t *tunnel) Close() error {
	t.once.Do(func() { t.x.end(closeTunnel) })
	return nil
}

var _ io.ReadCloser = (*tunnel)(nil)
