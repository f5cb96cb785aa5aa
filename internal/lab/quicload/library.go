package quicload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/internal/pki"
)

// quicGo is quic-go with its own HTTP/3 client and defaults: one socket, an idle timeout of 30 s, no repetition of requests that a connection
// took with it, and 0-RTT for the first requests of a connection that resumes another's session.
type quicGo struct{}

func (quicGo) Name() string     { return "quic-go" }
func (quicGo) Available() error { return nil }

func (quicGo) Start(ctx context.Context, t Target) (Run, error) {
	l, err := newHTTP3(&t)
	if err != nil {
		return nil, fmt.Errorf("quic-go: %w", err)
	}
	return l.start(ctx, t)
}

// Move is part of Mover.
func (quicGo) Move(ctx context.Context, t Target, d Direction, size int64) (Transfer, error) {
	l, err := newHTTP3(&t)
	if err != nil {
		return Transfer{}, fmt.Errorf("quic-go: %w", err)
	}
	return l.move(ctx, t, d, size)
}

// http2Client is Go's HTTP/2 over TCP, which makes a request again that a kept connection broke under before an answer began, as browsers do.
type http2Client struct{}

func (http2Client) Name() string     { return "h2" }
func (http2Client) Available() error { return nil }

func (http2Client) Start(ctx context.Context, t Target) (Run, error) {
	l, err := newHTTP2(&t)
	if err != nil {
		return nil, fmt.Errorf("h2: %w", err)
	}
	return l.start(ctx, t)
}

// Move is part of Mover.
func (http2Client) Move(ctx context.Context, t Target, d Direction, size int64) (Transfer, error) {
	l, err := newHTTP2(&t)
	if err != nil {
		return Transfer{}, fmt.Errorf("h2: %w", err)
	}
	return l.move(ctx, t, d, size)
}

// library is a client of ours, with all that it has open.
type library struct {
	name   string
	client http.Client
	method string
	repeat bool // once, on a new connection, when a kept one broke
	dialed atomic.Uint64
	close  func() error
}

// trust is the TLS configuration of a client that resumes sessions.
func trust(t *Target) (*tls.Config, error) {
	if err := t.complete(); err != nil {
		return nil, err
	}
	roots, err := pki.LoadPool(t.Authority)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: t.Host, ClientSessionCache: tls.NewLRUClientSessionCache(0)}, nil
}

func newHTTP3(t *Target) (*library, error) {
	conf, err := trust(t)
	if err != nil {
		return nil, err
	}
	network := "udp4"
	if t.Address.Is6() {
		network = "udp6"
	}
	socket, err := t.Namespace.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	address := net.UDPAddrFromAddrPort(netip.AddrPortFrom(t.Address, t.Port))
	tr := &quic.Transport{Conn: socket}
	l := &library{name: "quic-go", method: http3.MethodGet0RTT}
	h := &http3.Transport{
		TLSClientConfig: conf, DisableCompression: true,
		Dial: func(ctx context.Context, _ string, conf *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			l.dialed.Add(1)
			return tr.DialEarly(ctx, address, conf, qc)
		},
	}
	l.client.Transport = h
	l.close = func() error { return errors.Join(h.Close(), tr.Close(), socket.Close()) }
	return l, nil
}

func newHTTP2(t *Target) (*library, error) {
	conf, err := trust(t)
	if err != nil {
		return nil, err
	}
	address := netip.AddrPortFrom(t.Address, t.Port).String()
	l := &library{name: "h2", method: http.MethodGet, repeat: true}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	h := &http.Transport{
		TLSClientConfig: conf, Protocols: &protocols, DisableCompression: true,
		MaxConnsPerHost: 1,                                                                                   // requests wait for the connection that is being made, as a browser's do
		HTTP2:           &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second}, // as Chromium's
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			l.dialed.Add(1)
			return t.Namespace.DialContext(ctx, network, address)
		},
	}
	l.client.Transport = h
	l.close = func() error { h.CloseIdleConnections(); return nil }
	return l, nil
}

func (l *library) start(ctx context.Context, t Target) (Run, error) {
	address := t.url()
	run, err := startPaced(ctx, t, func(ctx context.Context, r *Record) error { return l.ask(ctx, address, r) }, l.close)
	if err != nil {
		return nil, fmt.Errorf("%s: the first request: %w", l.name, err)
	}
	return run, nil
}

// ask makes a request, twice at most.
func (l *library) ask(ctx context.Context, address string, r *Record) error {
	reused, err := l.once(ctx, address, r)
	if err != nil && l.repeat && reused && r.Protocol == "" && ctx.Err() == nil {
		_, err = l.once(ctx, address, r)
	}
	return err
}

// once reports whether the connection had carried a request before.
func (l *library) once(ctx context.Context, address string, r *Record) (reused bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		// A client has one connection at a time, the one that it made last.
		reused, r.Connection = info.Reused, l.dialed.Load()
	}})
	request, err := http.NewRequestWithContext(ctx, l.method, address, nil)
	if err != nil {
		return false, err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return reused, plain(err)
	}
	defer response.Body.Close()
	r.Protocol, r.Via = word(response), via(response.Header.Values("Via"))
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return reused, fmt.Errorf("body: %w", err)
	}
	if response.StatusCode >= 400 {
		return reused, fmt.Errorf("status %d", response.StatusCode)
	}
	return reused, nil
}

// plain is an error of a client's without the URL.
func plain(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}
