package upstream

import (
	"context"
	"crypto/x509"
	"net"
	"time"
)

// Config bounds the connections to one origin. The zero value of a time or number is no limit unless it says otherwise.
type Config struct {
	// ConnectTimeout bounds the making of a connection: name resolution, TCP and TLS handshakes.
	ConnectTimeout time.Duration
	// ResponseTimeout bounds the wait from the request's last byte to the response's final header section, and each single wait for the
	// origin to take a part of the request.
	ResponseTimeout time.Duration
	// ReadTimeout bounds each single wait for bytes of the response's body.
	ReadTimeout time.Duration
	// MaxConnections bounds the exchanges under way, tunnels among them. Over HTTP/1.1 each has a connection of its own, and idle ones
	// count against it too; over HTTP/2 they are streams. 0: 256.
	MaxConnections int
	// MaxHeaderSize bounds the response's header section in bytes, informational ones and trailers each for itself. 0: 64 KiB.
	MaxHeaderSize int64

	// Roots are who may vouch for an https origin; nil are the system's.
	Roots *x509.CertPool
	// ServerName is the name an https origin is asked for and must prove; "" is the URL's host.
	ServerName string

	// Dial makes connections; nil is a [net.Dialer], which tries IPv6 and IPv4 as RFC 8305 says.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Events Events
}

// Events are called as things happen, by any goroutine; each may be nil.
type Events struct {
	Dialed  func()              // a connection was made
	Reused  func()              // an exchange got an idle connection
	Limited func()              // an exchange was refused because of MaxConnections
	Closed  func(reason string) // an HTTP/1.1 connection was closed; reason is one of CloseReasons
}

// Why an HTTP/1.1 connection was closed.
const (
	closeIdle     = "idle too long"
	closeByOrigin = "origin closed or spoke while idle"
	closeAsked    = "not to be kept"
	closeUnread   = "body not read to its end"
	closeFault    = "failed exchange"
	closeTunnel   = "tunnel ended"
	closeShutdown = "shutdown"
)

// CloseReasons are all that Events.Closed is given.
var CloseReasons = []string{closeIdle, closeByOrigin, closeAsked, closeUnread, closeFault, closeTunnel, closeShutdown}

// idleTimeout is how long a connection waits for its next exchange: below the 60 s and more at which most servers close (nginx 75 s,
// load balancers 60 s), so that it is seldom the origin that closes while a request is on its way.
const idleTimeout = 50 * time.Second

func (c *Config) setDefaults() {
	if c.MaxConnections <= 0 {
		c.MaxConnections = 256
	}
	if c.MaxHeaderSize <= 0 {
		c.MaxHeaderSize = 64 << 10
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	nop := func() {}
	for _, f := range []*func(){&c.Events.Dialed, &c.Events.Reused, &c.Events.Limited} {
		if *f == nil {
			*f = nop
		}
	}
	if c.Events.Closed == nil {
		c.Events.Closed = func(string) {}
	}
}
