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

	"nearcast/proxy/message"
)

// progress is how far an attempt came. The transport's goroutines write it, so each field is its own atomic or is written
// before the response is there.
type progress struct {
	connected atomic.Bool // a connection was had, new or kept: bytes may have gone out
	peer      netip.AddrPort
}

func (p *progress) trace(ctx context.Context, informational func(int, message.Fields)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			p.connected.Store(true)
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
	e := &message.Error{Blame: message.BlameOrigin, Status: http.StatusBadGateway, Err: err, RetrySafe: !p.connected.Load()}
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
		if e.RetrySafe {
			e.Reason = "connect timeout"
		}
	case e.RetrySafe:
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
			if !connectionFields[f.Name] {
				b.into.Add(f.Name, f.Value)
			}
		}
	}
	return n, err
}

// connectionFields never pass a hop (RFC 9110 §7.6.1), besides those that Connection names.
var connectionFields = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true,
	"transfer-encoding": true, "upgrade": true, "trailer": true, "content-length": true,
}

func fromHeader(h http.Header) message.Fields {
	named := map[string]bool{}
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			named[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	f := make(message.Fields, 0, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		if connectionFields[name] || named[name] {
			continue
		}
		for _, v := range values {
			f.Add(name, v)
		}
	}
	return f
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
