package upstream

import (
	"context"
	"crypto/tls"
	"net"
)

// tlsError is a handshake that failed.
type tlsError struct{ error }

func (e *tlsError) Unwrap() error { return e.error }

func tlsConfig(cfg *Config, host string) *tls.Config {
	name := cfg.ServerName
	if name == "" {
		name = host
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            cfg.Roots,
		ServerName:         name,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
}

// connecting is a context for making a connection.
func (o *Origin) connecting(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.cfg.ConnectTimeout > 0 {
		return context.WithTimeout(ctx, o.cfg.ConnectTimeout)
	}
	return ctx, func() {}
}

// dial makes a connection. h2 is true when HTTP/2 is to be spoken on it. Errors are *message.Error.
func (o *Origin) dial(ctx context.Context) (c *conn, h2 bool, err error) {
	dctx, cancel := o.connecting(ctx)
	defer cancel()
	raw, err := o.cfg.Dial(dctx, "tcp", o.addr)
	if err != nil {
		return nil, false, dialFault(ctx, err)
	}
	if c, h2, err = o.secure(dctx, raw); err != nil {
		return nil, false, dialFault(ctx, err)
	}
	o.cfg.Events.Dialed()
	return c, h2, nil
}

// secure makes of a connection what the origin's scheme asks for. It closes raw when that fails.
func (o *Origin) secure(ctx context.Context, raw net.Conn) (*conn, bool, error) {
	c := newConn(raw)
	if o.tls == nil {
		return c, o.multi != nil, nil
	}
	c.below = &below{Conn: raw}
	t := tls.Client(c.below, o.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, false, &tlsError{err}
	}
	c.Conn = t
	return c, t.ConnectionState().NegotiatedProtocol == "h2", nil
}
