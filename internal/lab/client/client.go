// Package client is an HTTP client that stands inside a network namespace and speaks exactly one version of HTTP. It tells which edge
// answered from the name in its certificate.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/internal/lab/netns"
)

// Protocol is a version of HTTP.
type Protocol string

// The versions.
const (
	H1 Protocol = "h1" // HTTP/1.1 over TLS
	H2 Protocol = "h2" // HTTP/2 over TLS
	H3 Protocol = "h3" // HTTP/3
)

// silence is how long a QUIC connection may say nothing before the client gives it up. Nobody resets a QUIC connection whose packets have
// come to go to another edge, so this is what notices.
const silence = 1500 * time.Millisecond

// maxBody bounds what is read of a response.
const maxBody = 32 << 20

// Config says where a client stands and whom it asks.
type Config struct {
	Namespace netns.Namespace
	Protocol  Protocol
	Host      string         // in the URL and the certificate
	Address   netip.AddrPort // where it is
	Roots     *x509.CertPool
	Timeout   time.Duration // for a request with its connection, default 5s
	// Fresh opens a connection for every request. Otherwise connections are kept, and a request on a kept one that fails is
	// repeated once on a new one, as browsers do and RFC 9110 §9.2.2 allows.
	Fresh bool
}

// Response is what came back.
type Response struct {
	Status   int
	Header   http.Header
	Body     []byte
	Edge     string // the certificate's common name
	Protocol string // as the response says, such as HTTP/3.0
	Repeated bool   // the first attempt failed on a kept connection
}

// Client is safe for use by several goroutines.
type Client struct {
	cfg Config

	// shared
	transport transport      // the kept connections
	sockets   sync.WaitGroup // the goroutines that close the UDP sockets
}

type transport interface {
	http.RoundTripper
	close()
}

// New returns a client. It connects on demand.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	c := &Client{cfg: cfg}
	c.transport = c.newTransport()
	return c
}

// Close closes the kept connections and waits for what belongs to them.
func (c *Client) Close() {
	c.transport.close()
	c.sockets.Wait()
}

// Get asks for a path and reads the response whole. A status of any kind is no error.
func (c *Client) Get(ctx context.Context, path string) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	t := c.transport
	if c.cfg.Fresh {
		t = c.newTransport()
		defer t.close()
	}
	res, reused, err := c.attempt(ctx, t, path)
	if err == nil || !reused || ctx.Err() != nil {
		return res, err
	}
	res, _, err = c.attempt(ctx, t, path) // the transport has dropped the connection that failed
	res.Repeated = true
	return res, err
}

func (c *Client) attempt(ctx context.Context, t transport, path string) (res Response, reused bool, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	url := fmt.Sprintf("https://%s:%d%s", c.cfg.Host, c.cfg.Address.Port(), path)
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, url, nil)
	if err != nil {
		return res, false, err
	}
	r, err := t.RoundTrip(req)
	if err != nil {
		return res, reused, err
	}
	defer r.Body.Close()
	res = Response{Status: r.StatusCode, Header: r.Header, Protocol: r.Proto}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		res.Edge = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	res.Body, err = io.ReadAll(io.LimitReader(r.Body, maxBody))
	return res, reused, err
}

func (c *Client) newTransport() transport {
	tlsConfig := &tls.Config{RootCAs: c.cfg.Roots, ServerName: c.cfg.Host}
	if c.cfg.Protocol == H3 {
		return h3Transport{&http3.Transport{TLSClientConfig: tlsConfig, Dial: c.dialQUIC, QUICConfig: &quic.Config{MaxIdleTimeout: silence}}}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(c.cfg.Protocol == H1)
	protocols.SetHTTP2(c.cfg.Protocol == H2)
	return tcpTransport{&http.Transport{TLSClientConfig: tlsConfig, DialContext: c.dialTCP, Protocols: protocols,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true}}
}

type tcpTransport struct{ *http.Transport }

func (t tcpTransport) close() { t.CloseIdleConnections() }

type h3Transport struct{ *http3.Transport }

func (t h3Transport) close() { _ = t.Close() }

func (c *Client) dialTCP(ctx context.Context, _, _ string) (net.Conn, error) {
	return c.cfg.Namespace.DialContext(ctx, "tcp", c.cfg.Address.String())
}

// dialQUIC opens a connection with a UDP socket of its own, which ends with it.
func (c *Client) dialQUIC(ctx context.Context, _ string, tlsConfig *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
	network := "udp4"
	if c.cfg.Address.Addr().Is6() {
		network = "udp6"
	}
	socket, err := c.cfg.Namespace.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	t := &quic.Transport{Conn: socket}
	conn, err := t.Dial(ctx, net.UDPAddrFromAddrPort(c.cfg.Address), tlsConfig, cfg)
	if err != nil {
		_ = t.Close()
		_ = socket.Close()
		return nil, err
	}
	c.sockets.Go(func() {
		<-conn.Context().Done()
		_ = t.Close()
		_ = socket.Close()
	})
	return conn, nil
}
