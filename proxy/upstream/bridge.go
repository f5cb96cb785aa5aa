package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/http/httpguts"

	"nearcast/proxy/message"
	"nearcast/proxy/message/nethttp"
)

// progress is how far an attempt came. The transport's goroutines write it, so each field is its own atomic or is written
// before the response is there.
type progress struct {
	connected atomic.Bool // a connection was had, new or kept
	reused    atomic.Bool // the last of them was a kept one
	conn      *conn       // the last of them
	before    int64       // what had been written to it
	sent      atomic.Bool // bytes went out on one before the last
	peer      netip.AddrPort
}

// wrote reports whether bytes of the request may have gone out.
func (p *progress) wrote() bool {
	return p.sent.Load() || p.connected.Load() && (p.conn == nil || p.conn.written.Load() != p.before)
}

// stale reports whether a kept connection was found closed before anything was written to it.
func (p *progress) stale() bool { return p.reused.Load() && !p.wrote() }

func (p *progress) trace(ctx context.Context, informational func(int, message.Fields)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			p.sent.Store(p.wrote())
			p.connected.Store(true)
			p.reused.Store(i.Reused)
			if p.conn, _ = i.Conn.(*conn); p.conn != nil {
				p.before = p.conn.written.Load()
			}
			if a, ok := i.Conn.RemoteAddr().(*net.TCPAddr); ok {
				p.peer = a.AddrPort()
			}
		},
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if informational != nil && code != http.StatusContinue {
				informational(code, fromHeader(http.Header(h)))
			}
			return nil
		},
	})
}

// classify turns the transport's error into ours.
func classify(ctx context.Context, err error, p *progress) *message.Error {
	var own *message.Error
	if errors.As(err, &own) {
		return own // the request body's reader failed: the client's fault, or a limit of ours
	}
	e := &message.Error{Blame: message.BlameOrigin, Status: http.StatusBadGateway, Err: err, RetrySafe: !p.wrote()}
	var ne net.Error
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		e.Blame, e.Status, e.Reason, e.RetrySafe = message.BlameClient, 499, "client went away", false
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "connection closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		e.Status, e.Reason = http.StatusGatewayTimeout, "response timeout"
		if !p.connected.Load() {
			e.Reason = "connect timeout"
		}
	case strings.Contains(err.Error(), "server closed idle connection"): // net/http does not export it
		e.Reason = "connection closed"
	case !p.connected.Load():
		e.Reason = "connect failed"
	default:
		e.Reason = "malformed response"
	}
	return e
}

// responseBody counts the attempt as over when it is closed, once.
type responseBody struct {
	io.ReadCloser
	closed atomic.Bool
	done   func()
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &message.Error{Blame: message.BlameOrigin, Status: http.StatusBadGateway, Reason: "response body cut", Err: err}
	}
	return n, err
}

func (b *responseBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	defer b.done()
	return b.ReadCloser.Close()
}

// requestBody hands over the client's trailers when the body has ended: net/http writes the map's lines after the last chunk.
type requestBody struct {
	io.Reader
	trailers func() message.Fields
	into     http.Header
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		for _, f := range b.trailers() {
			if trailing(f.Name) {
				b.into.Add(f.Name, f.Value)
			}
		}
	}
	return n, err
}

// trailing reports whether a client's trailer may pass: not what frames, routes or authenticates a message (RFC 9110 §6.5.1), nor what
// this hop says of the client. Some servers merge trailers into the header section.
func trailing(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	switch name {
	case "forwarded", "x-real-ip", "via", "cdn-loop", "cookie":
		return false
	}
	return !connectionFields[name] && !strings.HasPrefix(name, "x-forwarded-") && httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name))
}

// untouched remembers whether a body has been read from.
type untouched struct {
	io.Reader
	read atomic.Bool
}

func (b *untouched) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.Reader.Read(p)
}

// connectionFields never pass a hop (RFC 9110 §7.6.1), besides those that Connection names.
var connectionFields = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true,
	"transfer-encoding": true, "upgrade": true, "trailer": true, "content-length": true,
}

func fromHeader(h http.Header) message.Fields {
	return nethttp.Fields(h, func(name string, _ []string) bool { return connectionFields[name] })
}

func toHeader(f message.Fields) http.Header {
	h := make(http.Header, len(f)+1)
	for _, x := range f {
		k := textproto.CanonicalMIMEHeaderKey(x.Name)
		h[k] = append(h[k], x.Value)
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or net/http sends its own
	}
	return h
}
