package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/quic-go/quic-go"
)

// Class is how a request ended.
type Class uint8

const (
	OK          Class = iota // a whole response with a status below 400
	Timeout                  // no whole response within Options.Timeout, or the transport gave up waiting
	Refused                  // connection refused
	Reset                    // TCP reset, QUIC stateless reset
	Closed                   // the peer ended the connection or the stream before a response
	Unreachable              // no route to the host
	TLS                      // handshake or certificate
	Status                   // status of 400 or more
	Incomplete               // the body ended too early
	NotSent                  // Options.MaxInFlight was reached
	Other                    // anything else; see Result.Examples
	numClasses
)

func (c Class) String() string {
	names := [numClasses]string{"ok", "timeout", "refused", "reset", "closed", "unreachable", "tls", "status", "incomplete", "not sent", "other"}
	if c < numClasses {
		return names[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// handshakeError marks an error of a TLS handshake, incompleteError one in a response's body.
type (
	handshakeError  struct{ error }
	incompleteError struct{ error }
)

func (e handshakeError) Unwrap() error  { return e.error }
func (e incompleteError) Unwrap() error { return e.error }

// classify says what kind of failure err is. What the network did comes before where it happened: a reset during the
// handshake is a reset, and only a handshake that both ends could have finished is TLS.
func classify(err error) Class {
	if err == nil {
		return OK
	}
	if isTimeout(err) {
		return Timeout
	}
	if as[incompleteError](err) {
		return Incomplete
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), as[*quic.StatelessResetError](err):
		return Reset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case isTLS(err):
		return TLS
	case isClosed(err):
		return Closed
	case as[handshakeError](err):
		return TLS
	}
	return Other
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		as[orderlyError](err) || as[unusableError](err) || as[brokenError](err) || isHTTP2Error(err) || isHTTP3Error(err)
}

// isTLS knows the errors that only TLS makes. quic-go's say of themselves that they are net.ErrClosed too.
func isTLS(err error) bool {
	var t *quic.TransportError
	return as[tls.AlertError](err) || as[*tls.CertificateVerificationError](err) ||
		as[x509.UnknownAuthorityError](err) || errors.As(err, &t) && t.ErrorCode.IsCryptoError()
}

// as reports whether err's tree holds a T.
func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
