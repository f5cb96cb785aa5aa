package message

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"
)

// Protocol is the HTTP version of a connection.
type Protocol uint8

const (
	HTTP1 Protocol = 1 + iota
	HTTP2
	HTTP3
)

// String returns the ALPN-like short name that logs and metrics use.
func (p Protocol) String() string {
	switch p {
	case HTTP1:
		return "h1"
	case HTTP2:
		return "h2"
	case HTTP3:
		return "h3"
	}
	return "unknown"
}

// MarshalText is String, for logs and JSON.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Request is one request as the front end decoded it. The front end has already refused what its RFC calls malformed.
//
// Its strings and Fields may be parts of a buffer of the front end's: they are valid until the exchange is over, which is when Serve
// has returned or [Ready.Done] was called. Whoever keeps them longer, or passes them to a goroutine that may, calls [Request.Detach] first.
type Request struct {
	Protocol  Protocol
	Method    string
	Scheme    string // "http" or "https"
	Authority string // host and optional port, lower case; "" is refused by admit
	Target    Target
	Fields    Fields // without connection-specific fields and Host

	// Body is nil when there is none. It need not be read to its end. Another goroutine than Serve's may read it, one at a time; none does when
	// Serve has returned. It should be an [Interrupter]: else whoever has no more use for it waits for the client.
	Body io.Reader
	// ContentLength is the body's length in bytes, -1 when it is not known, 0 when there is no body.
	ContentLength int64
	// Trailers returns the trailer section once Body has returned io.EOF. It may be nil.
	Trailers func() Fields

	Client netip.AddrPort
	Local  netip.AddrPort
	TLS    *TLS // nil on a plain connection

	// Upgrade is the protocol, in lower case, that the client asks to change to: "websocket" from an Upgrade field of HTTP/1.1
	// (RFC 9110 §7.8), or :protocol of an extended CONNECT (RFC 8441, RFC 9220), whose Method is then given as GET. "" for none.
	// A handler that does not change protocols answers as if it were not there.
	Upgrade string

	// AltSvc is the Alt-Svc value (RFC 7838) that the response must carry instead of any other; "" for none.
	AltSvc string
	// RedirectPort is not 0 on a listener that only sends clients on to https: the port to send them to.
	RedirectPort uint16

	Received time.Time

	// State is the handler's own, between Quick and Serve. Front ends set it to nil when the exchange is over.
	State any
}

// TLS is what the request's connection negotiated.
type TLS struct {
	Version    uint16
	ServerName string
	Resumed    bool
	EarlyData  bool // the request may have been replayed (RFC 8470)
	// Handshake is what such a request can wait for. Nil where it can't, or need not.
	Handshake Handshake
}

// Handshake is a TLS handshake that was not complete when a request came.
type Handshake interface {
	// Complete reports whether it is by now: then nothing that came on the connection is a replay.
	Complete() bool
	// Wait waits until it is, and returns what the connection has negotiated, without EarlyData. It fails when ctx ends, when the connection does (a
	// handshake that takes too long ends it), and when too many wait already.
	Wait(ctx context.Context) (*TLS, error)
}

// ResponseWriter is the front end's side of one exchange. The calls are made in the order of the methods, by one goroutine at a time.
type ResponseWriter interface {
	// WriteInformational sends a 1xx response other than 101. Front ends that can't do so ignore it.
	WriteInformational(status int, fields Fields) error
	// WriteHeader sends the header section. length is the body's length, or -1 when it is not known; a body to a HEAD request
	// or with status 204 or 304 is never sent, and length is then what a GET would have had.
	WriteHeader(status int, fields Fields, length int64) error
	// Write sends a part of the body. The front end may buffer it.
	Write(p []byte) (int, error)
	// Flush sends what is buffered.
	Flush() error
	// WriteTrailers sends the trailer section; nothing may follow.
	WriteTrailers(fields Fields) error
	// SwitchProtocols answers a request with Upgrade set instead of WriteHeader: 101 on HTTP/1.1, 200 on a stream of HTTP/2 or
	// HTTP/3. The front end adds Connection and Upgrade where the version has them. The tunnel ends when Serve returns.
	SwitchProtocols(fields Fields) (Tunnel, error)
	// Abort ends the exchange so that the client sees the response as incomplete
	// (a closed connection, RST_STREAM, a reset stream). The handler returns at once afterwards.
	Abort()
}

// AddrPort is the address of a TCP or UDP socket, an IPv4 address in its own form; invalid for any other.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Tunnel is an exchange that has changed to another protocol. Read and Write may be called by two goroutines.
// Only the idle timeout bounds a wait: a tunnel on which nothing moves either way for that long is ended, by an [Error] with the reason
// "tunnel idle" where the front end can say so.
//
// A front end's Tunnel is an [Interrupter] besides: Interrupt, called by any goroutine, ends a Read and a Write in progress and all later ones.
// That is how the handler, which returns when nobody uses the tunnel any more, ends the client's side when the origin's has failed.
type Tunnel interface {
	io.Reader // what the client sends; io.EOF when it has ended its side
	io.Writer // to the client, sent at once
	// CloseWrite ends our side; the client may still send.
	CloseWrite() error
}

// Handler serves one request. When it returns, the exchange is over. ctx ends when the client goes away or the server stops.
type Handler interface {
	Serve(ctx context.Context, w ResponseWriter, r *Request)
}

// Newcomer is how old a connection may be whose first request has not come and must be on its way. A client that is told to leave before it has
// sent it may take that for an error of a connection that it has just made.
const Newcomer = time.Second

// ConnInfo is what a front end is told of a connection that it is to serve.
type ConnInfo struct {
	Client netip.AddrPort // the peer, never an IPv4-mapped address
	Local  netip.AddrPort
	TLS    *TLS // nil on a plain connection
	// Accepted is when the connection was: what came before HTTP, such as a TLS handshake, and the first header section share the time
	// that a header section has. Zero: when the front end got it.
	Accepted time.Time
	// Corker is what lies below TLS, where that can hold back writes; else nil.
	Corker Corker
}

// Corker is a connection that can collect what is written to it, so that the many records of one TLS flush leave in one system call.
// It is used by the goroutine that writes.
type Corker interface {
	// Cork keeps what is written from now on in memory, up to a bound of the connection's own.
	Cork()
	// Uncork sends what was kept, and lets writes through again.
	Uncork() error
}

// Interrupter is a Request.Body of which a Read can be ended by another goroutine: Interrupt makes a Read in progress, and all later ones,
// return an error soon. It is called while the exchange lasts, by whoever has no more use for the body; that nobody reads it after the
// exchange is then certain.
type Interrupter interface {
	Interrupt()
}
