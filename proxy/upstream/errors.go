package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"nearcast/proxy/message"
)

// The reasons of this package's errors.
const (
	reasonRefused     = "connection refused"
	reasonDialTimeout = "connect timeout"
	reasonDial        = "connect failed"
	reasonTLS         = "tls failed"
	reasonClosed      = "connection closed"
	reasonStale       = "stale connection"
	reasonTimeout     = "response timeout"
	reasonReadTimeout = "read timeout"
	reasonCut         = "response body cut"
	reasonMalformed   = "malformed response"
	reasonLimit       = "origin connection limit"
	reasonNoUpgrade   = "upgrade not supported"
	reasonUnsendable  = "unsendable request"
	reasonInternal    = "internal error"
	reasonBodyCut     = "request body cut"
	reasonClient      = "client went away"
)

// Reasons are all that this package gives as [message.Error.Reason] for what is the origin's or the edge's doing. The client's are "request
// body cut" and "client went away", and whatever the request's Body returns as a *message.Error.
var Reasons = []string{
	reasonRefused, reasonDialTimeout, reasonDial, reasonTLS, reasonClosed, reasonStale, reasonTimeout, reasonReadTimeout, reasonCut,
	reasonMalformed, reasonLimit, reasonNoUpgrade, reasonUnsendable, reasonInternal,
}

// Unreached tells of one of [Reasons] whether there was no answer at all: no connection, or none of it came.
func Unreached(reason string) bool {
	switch reason {
	case reasonRefused, reasonDialTimeout, reasonDial, reasonTLS, reasonClosed, reasonStale, reasonTimeout:
		return true
	}
	return false
}

var (
	errMalformed = errors.New("not what RFC 9112 allows")
	errHints     = errors.New("too many informational responses")
)

func originFault(status int, reason string, err error) *message.Error {
	return &message.Error{Blame: message.BlameOrigin, Status: status, Reason: reason, Err: err}
}

func malformed(err error) *message.Error {
	return originFault(http.StatusBadGateway, reasonMalformed, err)
}

func clientLeft(err error) *message.Error {
	return &message.Error{Blame: message.BlameClient, Status: 499, Reason: reasonClient, Err: err}
}

// isTimeout reports whether a wait had an end.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// isClosed reports whether the peer has ended the connection, in whatever way.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// dialFault classifies a connection that did not come about. No byte of the request was sent.
func dialFault(ctx context.Context, err error) *message.Error {
	e := originFault(http.StatusBadGateway, reasonDial, err)
	e.RetrySafe = true
	var t *tlsError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return clientLeft(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = reasonRefused
	case isTimeout(err):
		e.Status, e.Reason = http.StatusGatewayTimeout, reasonDialTimeout
	case errors.As(err, &t):
		e.Reason = reasonTLS
	}
	return e
}

// waitFault classifies a wait for the response's header section that failed for another reason than its bytes.
func waitFault(ctx context.Context, err error) *message.Error {
	var own *message.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(ctx.Err(), context.Canceled):
		return clientLeft(err)
	case isTimeout(err):
		return originFault(http.StatusGatewayTimeout, reasonTimeout, err)
	}
	return originFault(http.StatusBadGateway, reasonClosed, err)
}

// bodyFault classifies a response body that stopped.
func bodyFault(ctx context.Context, err error) *message.Error {
	var own *message.Error
	switch {
	case errors.As(err, &own) && own.Blame == message.BlameOrigin && own.Reason != reasonTimeout:
		return malformed(err) // package wire's
	case own != nil:
		return own
	case errors.Is(ctx.Err(), context.Canceled):
		return clientLeft(err)
	case isTimeout(err):
		return originFault(http.StatusGatewayTimeout, reasonReadTimeout, err)
	}
	return originFault(http.StatusBadGateway, reasonCut, err)
}
