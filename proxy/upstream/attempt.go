package upstream

import (
	"io"
	"net/netip"

	"nearcast/proxy/message"
)

// Attempt is one request to an origin.
type Attempt struct {
	// Request gives the method, the target, the authority (for Host or :authority), the body's length and trailers. Where Upgrade is set,
	// the origin is asked to change to that protocol; a body is then not sent.
	Request *message.Request
	// Fields are those to send, already rebuilt for this hop. Connection-specific ones, Host, Content-Length and Expect are left out: a
	// client that expects 100-continue gets it from the front end when Body is first read. So is TE, except "trailers" over HTTP/2.
	Fields message.Fields
	// Body is nil for none. It may be read by another goroutine than the caller's.
	Body io.Reader
	// Informational is called for each 1xx response but 100, before RoundTrip returns; nil discards them. The fields are valid only during
	// the call.
	Informational func(status int, fields message.Fields)

	last bool // the connection is not to be kept: a probe
}

// Response is what the origin answered.
type Response struct {
	Status int
	Fields message.Fields // without connection-specific fields and Content-Length; they are the response's own
	// Body is never nil and must be closed. Read and Close are called by one goroutine at a time. An error is a *message.Error.
	Body io.ReadCloser
	// ContentLength is the declared length of the body, for a response to HEAD or with status 304 of that to GET; -1 when it is not known.
	ContentLength int64
	// Tunnel is not nil when the origin has changed to Request.Upgrade, and must be closed, then or instead of Body. Status is 101 then,
	// whatever the version, and Fields lack Connection and Upgrade.
	Tunnel Tunnel
	// Peer is the address of the origin that answered.
	Peer netip.AddrPort
	// Protocol is the version spoken with it.
	Protocol message.Protocol

	trailers message.Fields
}

// Trailers returns the trailer section. It is valid once Body has returned io.EOF.
func (r *Response) Trailers() message.Fields { return r.trailers }

// Tunnel is an exchange that has changed to another protocol. Read and Write may be called by two goroutines, Close by any: it ends both. No
// timeout bounds a wait, only the context of RoundTrip.
type Tunnel interface {
	message.Tunnel
	io.Closer
}
