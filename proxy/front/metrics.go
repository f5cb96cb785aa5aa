package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"

	"nearcast/proxy/h1"
	"nearcast/proxy/h2"
	"nearcast/proxy/h3"
	"nearcast/proxy/message"
)

// MetricHelp says what each metric counts.
var MetricHelp = map[string]string{
	"nearcast_front_connections_open":            "Client connections open now, handshakes included.",
	"nearcast_front_connections_accepted_total":  "Client connections that reached the stage of HTTP, by protocol.",
	"nearcast_front_connections_refused_total":   "Client connections closed or refused at once, by reason.",
	"nearcast_front_accept_errors_total":         "Errors of accept on a TCP listener, by reason.",
	"nearcast_front_handshake_failures_total":    "TLS and QUIC handshakes that failed, by reason.",
	"nearcast_front_addresses":                   "Client addresses that are remembered for the limits of one address.",
	"nearcast_front_addresses_forgotten_total":   "Client addresses forgotten before their time, because as many are remembered as may be.",
	"nearcast_tls_certificate_not_after_seconds": "Unix time of the end of each certificate that is served, by file.",
	"nearcast_tls_ech_handshakes_total":          "Handshakes with Encrypted Client Hello, by result: accepted, or outdated (the client was sent the new key and comes again; also who asks for the public name itself).",
	"nearcast_tls_ocsp_stapled":                  "1 where a certificate's status is stapled to it, by the certificate's file.",
	"nearcast_tls_reloads_total":                 "Certificates read again because their files had changed, by result.",
	"nearcast_protocol_errors_total":             "Breaches of a protocol and clients that were too slow, by protocol and kind.",
	"nearcast_front_requests_in_flight":          "Requests being answered now.",
}

// Reasons of accept errors.
const (
	acceptNoFiles  = "no files"
	acceptNoMemory = "no memory"
	acceptAborted  = "aborted"
	acceptOther    = "other"
)

// Reasons of connections that are closed at once.
const (
	refusedLimit      = "limit"              // max_connections
	refusedEarly      = "early"              // half of them have not begun to speak HTTP
	refusedAddress    = "address"            // max_connections_per_address
	refusedHandshakes = "address handshakes" // handshakes_per_address
	refusedTable      = "address table"      // every address remembered has connections
	refusedHeader     = "proxy header"       // a load balancer sent none, or not in time
)

// Reasons of failed handshakes.
const (
	failTimeout  = "timeout"  // the client took too long
	failClosed   = "closed"   // the client went away
	failPlain    = "not tls"  // what came was no TLS
	failRejected = "rejected" // the client refused us, mostly our certificate
	failVersion  = "version"  // no common TLS version
	failProtocol = "protocol" // no common application protocol (ALPN)
	failOther    = "other"
)

type frontMetrics struct {
	set       *metrics.Set
	forgotten *metrics.Counter
	breaches  map[message.Protocol]func(kind string) // what the front ends count errors with
}

// listenerMetrics are those of one listener; its TCP and its UDP socket share them.
type listenerMetrics struct {
	open         *metrics.Gauge
	refused      map[string]*metrics.Counter
	accepted     map[message.Protocol]*metrics.Counter
	acceptErrors map[string]*metrics.Counter
	failures     map[string]*metrics.Counter
}

func newFrontMetrics(set *metrics.Set, inFlight func() int64, addresses func() int) *frontMetrics {
	if set == nil {
		set = metrics.NewSet()
	}
	set.GetOrCreateGauge("nearcast_front_requests_in_flight", func() float64 { return float64(inFlight()) })
	set.GetOrCreateGauge("nearcast_front_addresses", func() float64 { return float64(addresses()) })
	m := &frontMetrics{set: set, forgotten: set.GetOrCreateCounter("nearcast_front_addresses_forgotten_total")}
	m.breaches = map[message.Protocol]func(string){
		message.HTTP1: m.protocolErrors(message.HTTP1, h1.ErrorKinds),
		message.HTTP2: m.protocolErrors(message.HTTP2, h2.ErrorKinds),
		message.HTTP3: m.protocolErrors(message.HTTP3, h3.ErrorKinds),
	}
	return m
}

func (m *frontMetrics) listener(name string) *listenerMetrics {
	counter := func(metric, label, value string) *metrics.Counter {
		return m.set.GetOrCreateCounter(fmt.Sprintf("%s{listener=%q,%s=%q}", metric, name, label, value))
	}
	l := &listenerMetrics{
		open:         m.set.GetOrCreateGauge(fmt.Sprintf("nearcast_front_connections_open{listener=%q}", name), nil),
		refused:      map[string]*metrics.Counter{},
		accepted:     map[message.Protocol]*metrics.Counter{},
		acceptErrors: map[string]*metrics.Counter{},
		failures:     map[string]*metrics.Counter{},
	}
	for _, p := range []message.Protocol{message.HTTP1, message.HTTP2, message.HTTP3} {
		l.accepted[p] = counter("nearcast_front_connections_accepted_total", "protocol", p.String())
	}
	for _, r := range []string{refusedLimit, refusedEarly, refusedAddress, refusedHandshakes, refusedTable, refusedHeader} {
		l.refused[r] = counter("nearcast_front_connections_refused_total", "reason", r)
	}
	for _, r := range []string{acceptNoFiles, acceptNoMemory, acceptAborted, acceptOther} {
		l.acceptErrors[r] = counter("nearcast_front_accept_errors_total", "reason", r)
	}
	for _, r := range []string{failTimeout, failClosed, failPlain, failRejected, failVersion, failProtocol, failOther} {
		l.failures[r] = counter("nearcast_front_handshake_failures_total", "reason", r)
	}
	return l
}

// protocolErrors returns what counts the breaches of a protocol. kinds are all its words.
func (m *frontMetrics) protocolErrors(p message.Protocol, kinds []string) func(kind string) {
	counter := func(kind string) *metrics.Counter {
		return m.set.GetOrCreateCounter(fmt.Sprintf("nearcast_protocol_errors_total{protocol=%q,kind=%q}", p, kind))
	}
	all := make(map[string]*metrics.Counter, len(kinds))
	for _, kind := range kinds {
		all[kind] = counter(kind)
	}
	return func(kind string) {
		if c := all[kind]; c != nil {
			c.Inc()
		} else {
			counter(kind).Inc()
		}
	}
}

func (m *listenerMetrics) handshakeFailed(err error) { m.failures[handshakeReason(err)].Inc() }

// handshakeReason sorts the errors of crypto/tls and quic-go.
func handshakeReason(err error) string {
	var rec tls.RecordHeaderError
	var op *net.OpError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var slow *quic.HandshakeTimeoutError
	switch {
	case errors.As(err, &rec):
		return failPlain
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &idle), errors.As(err, &slow):
		return failTimeout
	case errors.As(err, &transport) && transport.Remote, errors.As(err, &op) && op.Op == "remote error":
		return failRejected
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return failClosed
	case err != nil:
		return handshakeText(err.Error())
	}
	return failOther
}

// handshakeText looks at the words, since crypto/tls has no types for these.
func handshakeText(s string) string {
	switch {
	case strings.Contains(s, "unsupported versions"), strings.Contains(s, "protocol version"):
		return failVersion
	case strings.Contains(s, "application protocol"):
		return failProtocol
	}
	return failOther
}
