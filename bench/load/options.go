package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// The protocols.
const (
	HTTP1 = "h1" // HTTP/1.1
	HTTP2 = "h2" // HTTP/2; with an http URL, with prior knowledge (RFC 9113 §3.3)
	HTTP3 = "h3" // HTTP/3; https URLs only
)

// The kinds of handshakes.
const (
	Full    = "full"    // with a certificate
	Resumed = "resumed" // with a ticket from an earlier one, without early data
)

// The bounds of what may be asked for.
const (
	maxConnections = 1 << 16
	maxStreams     = 1 << 12
	maxKeys        = 1 << 24
	maxBody        = 16 << 20
	maxURL         = 8000 // with the fields, a request's head must fit into one frame
	maxFields      = 8000
)

// Field is a header field to send.
type Field struct{ Name, Value string }

// Options say what load to make. URL has no default; either Duration or Requests must be set.
type Options struct {
	// URL is what is fetched. Its path and query may hold {size}, for each of Sizes in turn, and {key}, for the number of a key.
	URL      string
	Protocol string // default HTTP1
	Method   string // default GET
	Header   []Field
	// BodySize is the length of the request's body, of zeros. At most 16 MiB.
	BodySize int
	// Address is the host:port to connect to. Default: the URL's own.
	Address string
	// TLS is the configuration for https URLs. ServerName defaults to the URL's host; ALPN is set by Protocol.
	TLS *tls.Config

	// Sizes are the lengths in bytes of the bodies to ask for, chosen at random with equal weight. A response whose body has another
	// length is a failure.
	Sizes []int64
	// Keys is how many different {key}s are asked for, from 0. Default 1.
	Keys int
	// Zipf is the exponent of the keys' distribution: key k is asked for (k+1)^Zipf times as seldom as key 0. 0: all alike.
	Zipf float64
	// MissRatio is the fraction of the requests that ask for something that was never asked for before, in this run or an earlier one:
	// {key} becomes a new word, or, without {key}, the query gets one. It is held exactly, not by chance, to nine digits.
	MissRatio float64
	// Seed makes the choices of keys and sizes. The same seed gives each connection the same choices.
	Seed uint64

	// Handshakes measures handshakes instead of requests: each makes a connection, waits for a sign that the server has finished too, and
	// closes it. TLS 1.3 alone is used. Connections is then how many are under way at once.
	Handshakes string // "", Full or Resumed

	// Connections is how many connections share the load. Default 1.
	Connections int
	// Streams is how many requests a connection carries at once; the server's own limit is kept. HTTP/1.1 carries 1. Default 1.
	Streams int
	// Rate is the number of requests that start each second, over all connections. 0: a closed loop.
	Rate float64
	// Warmup is how long the load runs before anything is counted.
	Warmup time.Duration
	// Duration is how long is measured after that.
	Duration time.Duration
	// Requests is how many requests are measured instead. With Rate, they take Requests/Rate seconds.
	Requests int64
	// Timeout bounds one request from its sending, and one attempt to connect. Default 10s.
	Timeout time.Duration

	// Begin is called when the measuring begins, and End when it ends, to read what the server has cost.
	Begin, End func()
	// Progress is called now and then while the load runs.
	Progress func(Progress)

	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	pause func(ctx context.Context, d time.Duration) // waits precisely; tests give a fake clock's
	nonce string                                     // part of the words of misses
	// buffer is how much a TCP connection reads at once: at least a frame of HTTP/2.
	buffer int
}

// Progress is how a run stands.
type Progress struct {
	Phase          string        // "connecting", "warming up", "measuring", "finishing"
	Elapsed, Total time.Duration // of the phase; Total is 0 when only the requests are counted
	OK, Failed     int64         // measured so far
}

// plan is Options checked and completed.
type plan struct {
	Options
	url     *url.URL
	tls     *tls.Config // nil for http URLs
	targets *targets
}

func newPlan(o Options) (*plan, error) {
	p := &plan{Options: o}
	p.setDefaults()
	if err := errors.Join(p.checkTarget(), p.checkLoad(), p.checkKeys()); err != nil {
		return nil, err
	}
	if p.Address == "" {
		port := p.url.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[p.url.Scheme]
		}
		p.Address = net.JoinHostPort(p.url.Hostname(), port)
	}
	p.setTLS()
	p.targets = newTargets(p)
	return p, nil
}

func (p *plan) setDefaults() {
	if p.Protocol == "" {
		p.Protocol = HTTP1
	}
	if p.Method == "" {
		p.Method = http.MethodGet
	}
	p.Keys, p.Connections, p.Streams = max(p.Keys, 1), max(p.Connections, 1), max(p.Streams, 1)
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.buffer == 0 {
		p.buffer = 64 << 10
	}
	if p.dial == nil {
		p.dial = new(net.Dialer).DialContext
	}
	if p.pause == nil {
		p.pause = newTimer().wait
	}
}

func (p *plan) checkTarget() error {
	// Braces are no characters of a URL, yet they are ours.
	u, err := url.Parse(p.URL)
	if err != nil {
		return err
	}
	p.url = u
	switch {
	case len(p.URL) > maxURL:
		return fmt.Errorf("the URL has more than %d bytes", maxURL)
	case u.Host == "":
		return fmt.Errorf("the URL %q names no host", p.URL)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the URL %q must begin with http:// or https://", p.URL)
	case p.Protocol != HTTP1 && p.Protocol != HTTP2 && p.Protocol != HTTP3:
		return fmt.Errorf("unknown protocol %q: it is h1, h2 or h3", p.Protocol)
	case p.Protocol == HTTP3 && u.Scheme != "https":
		return fmt.Errorf("HTTP/3 needs an https URL, not %q", p.URL)
	case p.Protocol == HTTP1 && p.Streams > 1:
		return errors.New("HTTP/1.1 carries one request at a time on a connection: ask for more connections instead of streams")
	case p.Handshakes != "" && p.Handshakes != Full && p.Handshakes != Resumed:
		return fmt.Errorf("handshakes are full or resumed, not %q", p.Handshakes)
	case p.Handshakes != "" && (u.Scheme != "https" || p.Streams > 1):
		return errors.New("handshakes need an https URL and have no streams")
	case !validToken(p.Method) || p.Method == http.MethodConnect:
		return fmt.Errorf("%q is not a method that can be measured", p.Method)
	}
	length := 0
	for _, f := range p.Header {
		if length += len(f.Name) + len(f.Value); length > maxFields {
			return fmt.Errorf("the header fields have more than %d bytes", maxFields)
		}
		if !validToken(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return fmt.Errorf("%q is not a header field", f.Name+": "+f.Value)
		}
		switch strings.ToLower(f.Name) {
		case "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect":
			return fmt.Errorf("the field %s is the client's own", f.Name)
		}
	}
	return nil
}

func validToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

func (p *plan) checkLoad() error {
	switch {
	case p.Connections > maxConnections || p.Streams > maxStreams:
		return fmt.Errorf("at most %d connections and %d streams", maxConnections, maxStreams)
	case p.Rate < 0 || math.IsInf(p.Rate, 0) || math.IsNaN(p.Rate):
		return fmt.Errorf("%v is no rate", p.Rate)
	case p.Warmup < 0 || p.Duration < 0 || p.Requests < 0 || p.Timeout < 0 || p.BodySize < 0:
		return errors.New("warm-up, duration, timeout, requests and body size cannot be negative")
	case p.Duration == 0 && p.Requests == 0:
		return errors.New("either a duration or a number of requests is needed")
	case p.Duration != 0 && p.Requests != 0:
		return errors.New("a duration and a number of requests exclude each other")
	case p.BodySize > maxBody:
		return fmt.Errorf("a body of at most %d bytes", maxBody)
	case p.BodySize > 0 && (p.Method == http.MethodGet || p.Method == http.MethodHead):
		return fmt.Errorf("a %s request carries no body here", p.Method)
	}
	return nil
}

func (p *plan) checkKeys() error {
	has := func(word string) bool { return strings.Contains(p.URL, word) }
	switch {
	case p.Keys > maxKeys:
		return fmt.Errorf("at most %d keys", maxKeys)
	case !(p.Zipf >= 0 && p.Zipf <= 10):
		return fmt.Errorf("the exponent %v is not between 0 and 10", p.Zipf)
	case !(p.MissRatio >= 0 && p.MissRatio <= 1):
		return fmt.Errorf("the ratio of misses %v is not between 0 and 1", p.MissRatio)
	case p.Keys > 1 && !has("{key}"):
		return errors.New("with several keys the URL must say {key} where they go")
	case len(p.Sizes) > 0 && !has("{size}"):
		return errors.New("with sizes the URL must say {size} where they go")
	case len(p.Sizes) == 0 && has("{size}"):
		return errors.New("the URL says {size}, but there are no sizes")
	}
	for _, s := range p.Sizes {
		if s < 0 {
			return fmt.Errorf("%d is no size", s)
		}
	}
	return nil
}

func (p *plan) setTLS() {
	if p.url.Scheme != "https" {
		return
	}
	p.tls = &tls.Config{}
	if p.TLS != nil {
		p.tls = p.TLS.Clone()
	}
	if p.tls.ServerName == "" {
		p.tls.ServerName = p.url.Hostname()
	}
	p.tls.NextProtos = []string{map[string]string{HTTP1: "http/1.1", HTTP2: "h2", HTTP3: "h3"}[p.Protocol]}
	p.tls.DynamicRecordSizingDisabled = true
}

// counted reports that the run is as long as its requests need, rather than a duration.
func (p *plan) counted() bool { return p.Requests > 0 }

// idempotent methods may be sent again when a kept-alive connection was closed before an answer (RFC 9110 §9.2.2).
func (p *plan) idempotent() bool {
	switch p.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}
