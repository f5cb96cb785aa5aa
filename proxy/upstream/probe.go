package upstream

//lint:file-ignore SA1019 as in h2pool.go

import (
	"context"
	"errors"
	"io"
	"net"

	"nearcast/proxy/message"
)

// maxProbe bounds what a probe reads of a response's body; one that goes past it is taken for whole.
const maxProbe = 128 << 10

// Probe asks the origin once, on a connection made for that alone, and returns the final status when the response has come whole. host is for
// Host or :authority, the URL's own when "". MaxConnections does not count it. Errors are *message.Error; ctx should carry a timeout.
func (o *Origin) Probe(ctx context.Context, method string, target message.Target, host string, fields message.Fields) (status int, err error) {
	dctx, cancel := o.connecting(ctx)
	raw, err := o.cfg.Dial(dctx, "tcp", o.addr)
	cancel()
	if err != nil {
		return 0, dialFault(ctx, err)
	}
	return o.ProbeOn(ctx, raw, method, target, host, fields)
}

// ProbeOn is Probe on a TCP connection to the origin that the caller has made, and measured; it is closed afterwards. The rest is done as for
// any request: TLS, the choice of the version.
func (o *Origin) ProbeOn(ctx context.Context, raw net.Conn, method string, target message.Target, host string, fields message.Fields) (status int, err error) {
	if host == "" {
		host = o.authority
	}
	a := &Attempt{Request: &message.Request{Method: method, Scheme: o.scheme, Authority: host, Target: target}, Fields: fields, last: true}
	if !requestSendable(a) {
		raw.Close()
		return 0, unsendable(errField)
	}
	dctx, cancel := o.connecting(ctx)
	c, h2, err := o.secure(dctx, raw)
	cancel()
	if err != nil {
		return 0, dialFault(ctx, err)
	}
	l := line{c: c}
	if h2 {
		cc, err := o.multi.transport.NewClientConn(c.Conn)
		if err != nil {
			c.Conn.Close()
			return 0, dialFault(ctx, err)
		}
		defer cc.Close()
		l.shared = &stream2{ClientConn: cc, c: c}
	}
	res, _, err := o.attemptOn(ctx, a, l)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.CopyN(io.Discard, res.Body, maxProbe)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return res.Status, nil
}
