package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Protocol is the HTTP version of the load.
type Protocol uint8

const (
	HTTP1 Protocol = iota // HTTP/1.1
	HTTP2                 // HTTP/2; with an http URL, with prior knowledge (RFC 9113 §3.3)
	HTTP3                 // HTTP/3, https URLs only
)

func (p Protocol) String() string {
	switch p {
	case HTTP1:
		return "h1"
	case HTTP2:
		return "h2"
	case HTTP3:
		return "h3"
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// Retry says when a request is made a second time. Whatever it says, a kept-alive connection that is found ended before the
// request was sent is replaced, as every client does, and is no repetition.
type Retry uint8

const (
	RetryNever Retry = iota
	// RetryIdleClosed repeats a request once when the server closed a kept-alive connection in an orderly way just as the request was
	// sent: end of stream before the first byte of a response in HTTP/1.1 (over TLS only after close_notify, RFC 8446 §6.1), GOAWAY
	// below the request's stream or REFUSED_STREAM in HTTP/2 (RFC 9113 §8.7), GOAWAY or H3_REQUEST_REJECTED in HTTP/3 (RFC 9114 §5.2).
	RetryIdleClosed
	// RetryBroken repeats a request once, besides, when the kept-alive connection broke in any other way before the first byte of
	// the response: a reset, an end without close_notify, [Options.Silence]. RFC 9110 §9.2.2 allows it for idempotent methods, and
	// for others it is refused; browsers do it. A request that only ran out of [Options.Timeout] is not repeated.
	RetryBroken
)

func (r Retry) String() string {
	switch r {
	case RetryNever:
		return "never"
	case RetryIdleClosed:
		return "idle closed"
	case RetryBroken:
		return "broken"
	}
	return fmt.Sprintf("Retry(%d)", uint8(r))
}

// repeats reports whether a request that ended with err on a connection that had carried another is made again.
func (r Retry) repeats(err error) bool {
	return r >= RetryIdleClosed && as[orderlyError](err) || r >= RetryBroken && as[brokenError](err)
}

// maxRequests bounds a run, and with it the memory for its records.
const maxRequests = 4 << 20

// Options say what load to make. URL, Rate and Duration have no default.
type Options struct {
	URL      string
	Protocol Protocol
	Method   string      // default GET
	Header   http.Header // fields to send; Host sets the Host field or :authority
	// Address is the host:port to connect to. Default: the URL's own.
	Address string

	// Rate is the number of requests that start each second.
	Rate float64
	// Duration is how long requests start. The run ends when the last of them has ended. Rate times Duration is at most 4 Mi.
	Duration time.Duration
	// Timeout bounds a request, connection set-up and body included. Default 1s.
	Timeout time.Duration
	// MaxInFlight bounds the requests under way; one that would exceed it is recorded as NotSent and not made.
	// Default: twice Rate times Timeout, plus 64, at most 64 Ki.
	MaxInFlight int

	// KeepAlive lets a connection carry one request after another. Without it, each request makes its own.
	KeepAlive bool
	// Connections is how many connections are kept alive. HTTP/1.1 opens more while all of them are busy and closes them
	// after their request; HTTP/2 and HTTP/3 share these. Default: 10 for HTTP/1.1, else 1. At most 64 Ki.
	Connections int
	// Retry says which requests are made a second time. Default: none.
	Retry Retry
	// Silence is how long an HTTP/3 connection may hear nothing before it counts as broken. Nobody resets a QUIC connection whose
	// packets have come to go to another server, so that only this notices. Default: a minute.
	Silence time.Duration

	// TLS is the configuration for https URLs; ServerName defaults to the URL's host. ALPN is set by Protocol.
	TLS *tls.Config
	// DialTCP connects for HTTP/1.1 and HTTP/2. Default: net.Dialer. It may run in a network namespace.
	DialTCP func(ctx context.Context, network, address string) (net.Conn, error)
	// ListenUDP opens the socket of one HTTP/3 connection, which closes it. Default: an unconnected *net.UDPConn.
	ListenUDP func() (net.PacketConn, error)

	// ResponseField names a response field whose value each Record keeps.
	ResponseField string
	// Observe, if set, is called with each record when its request has ended, from the request's goroutine.
	// It may be called concurrently and must not block.
	Observe func(Record)
}

// plan is Options checked and completed.
type plan struct {
	Options
	url      *url.URL
	tls      *tls.Config // nil for http URLs
	requests int
}

// newPlan checks o and fills in what it leaves out.
func newPlan(o Options) (*plan, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p := &plan{Options: o, url: u}
	if err := errors.Join(p.checkTarget(), p.checkLoad()); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p.setDefaults()
	return p, nil
}

func (p *plan) checkTarget() error {
	switch {
	case p.url.Host == "":
		return fmt.Errorf("URL %q has no host", p.URL)
	case p.url.Scheme != "http" && p.url.Scheme != "https":
		return fmt.Errorf("URL %q: the scheme must be http or https", p.URL)
	case p.Protocol > HTTP3:
		return fmt.Errorf("unknown protocol %s", p.Protocol)
	case p.Protocol == HTTP3 && p.url.Scheme != "https":
		return fmt.Errorf("URL %q: HTTP/3 needs https", p.URL)
	}
	if _, err := http.NewRequest(p.Method, p.URL, nil); err != nil {
		return err
	}
	return nil
}

func (p *plan) checkLoad() error {
	n := p.Rate * p.Duration.Seconds()
	switch {
	case !(p.Rate > 0) || math.IsInf(p.Rate, 0):
		return fmt.Errorf("the rate must be more than 0, not %v", p.Rate)
	case p.Duration <= 0:
		return fmt.Errorf("the duration must be more than 0, not %v", p.Duration)
	case n > maxRequests:
		return fmt.Errorf("%v requests a second for %v are more than %d requests", p.Rate, p.Duration, maxRequests)
	case p.Timeout < 0 || p.MaxInFlight < 0 || p.Connections < 0 || p.Silence < 0:
		return errors.New("timeout, silence, requests in flight and connections can't be negative")
	case p.Retry > RetryBroken:
		return fmt.Errorf("unknown retry %s", p.Retry)
	case p.Retry == RetryBroken && !idempotent(p.Method):
		return fmt.Errorf("a broken %s must not be repeated: its method is not idempotent (RFC 9110 §9.2.2)", p.Method)
	case p.MaxInFlight > 1<<16 || p.Connections > 1<<16:
		return fmt.Errorf("at most %d requests in flight and connections", 1<<16)
	}
	p.requests = max(1, int(n))
	return nil
}

// idempotent methods are those of RFC 9110 §9.2.2; "" is GET.
func idempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

func (p *plan) setDefaults() {
	if p.Timeout == 0 {
		p.Timeout = time.Second
	}
	if p.Silence == 0 {
		p.Silence = time.Minute
	}
	if p.MaxInFlight == 0 {
		p.MaxInFlight = int(min(2*p.Rate*p.Timeout.Seconds()+64, 1<<16))
	}
	if p.Connections == 0 {
		p.Connections = 1
		if p.Protocol == HTTP1 {
			p.Connections = 10
		}
	}
	if p.Address == "" {
		port := p.url.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[p.url.Scheme]
		}
		p.Address = net.JoinHostPort(p.url.Hostname(), port)
	}
	if p.DialTCP == nil {
		p.DialTCP = new(net.Dialer).DialContext
	}
	if p.ListenUDP == nil {
		p.ListenUDP = func() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
	}
	if p.url.Scheme == "https" {
		p.setTLS()
	}
}

func (p *plan) setTLS() {
	p.tls = &tls.Config{}
	if p.TLS != nil {
		p.tls = p.TLS.Clone()
	}
	if p.tls.ServerName == "" {
		p.tls.ServerName = p.url.Hostname()
	}
	p.tls.NextProtos = []string{map[Protocol]string{HTTP1: "http/1.1", HTTP2: "h2", HTTP3: "h3"}[p.Protocol]}
}

// newRequest is the request that every arrival makes.
func (p *plan) newRequest(ctx context.Context) *http.Request {
	req := (&http.Request{Method: p.Method, URL: p.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: p.url.Host, Header: make(http.Header)}).WithContext(ctx)
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	for name, values := range p.Header {
		req.Header[name] = values
	}
	if h := p.Header.Get("Host"); h != "" {
		req.Host = h
		req.Header.Del("Host")
	}
	return req
}
