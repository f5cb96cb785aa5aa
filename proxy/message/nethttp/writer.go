package nethttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"nearcast/proxy/message"
)

var (
	errHeaderTwice = errors.New("the header section has been written already")
	errNoHeader    = errors.New("the header section has not been written")
	errTooLong     = errors.New("the body is longer than its declared length")
	errAborted     = errors.New("the exchange was aborted")
)

// writer is a message.ResponseWriter on an http.ResponseWriter.
type writer struct {
	hw  http.ResponseWriter
	rc  *http.ResponseController
	hr  *http.Request
	opt *Options

	sent        *body // the request's; nil when it has none
	leave       bool  // ask the client to leave the connection
	wroteHeader bool
	noBody      bool  // HEAD, 204, 304: what is written goes nowhere
	length      int64 // declared, -1 when not
	written     int64
	aborted     bool
	deadline    time.Time // of the writes
}

func newWriter(hw http.ResponseWriter, hr *http.Request, o *Options) *writer {
	w := &writer{hw: hw, rc: http.NewResponseController(hw), hr: hr, opt: o, length: -1}
	if o.Protocol == message.HTTP1 {
		// Without it net/http reads the request body before it writes a response: no streaming both ways.
		_ = w.rc.EnableFullDuplex()
		if o.Stall > 0 {
			_ = w.rc.SetWriteDeadline(time.Time{}) // the previous request's may have passed
		}
	}
	return w
}

// WriteInformational implements message.ResponseWriter. HTTP/1.0 knows no 1xx (RFC 9110 §15.2), and 100 the server sends itself.
func (w *writer) WriteInformational(status int, fields message.Fields) error {
	switch {
	case w.aborted:
		return errAborted
	case w.wroteHeader:
		return errHeaderTwice
	case status < 100 || status > 199 || status == http.StatusSwitchingProtocols:
		return fmt.Errorf("%d is not an informational status that can be sent", status)
	case status == http.StatusContinue || !w.hr.ProtoAtLeast(1, 1):
		return nil
	}
	h := w.hw.Header()
	setFields(h, fields)
	w.beforeWrite()
	w.hw.WriteHeader(status)
	clear(h)
	return nil
}

// WriteHeader implements message.ResponseWriter.
func (w *writer) WriteHeader(status int, fields message.Fields, length int64) error {
	switch {
	case w.aborted:
		return errAborted
	case w.wroteHeader:
		return errHeaderTwice
	case status < 200 || status > 999:
		return fmt.Errorf("%d is not a final status", status)
	}
	w.wroteHeader = true
	w.length = length
	w.noBody = w.hr.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	h := w.hw.Header()
	setFields(h, fields)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // no guessing
	}
	if length >= 0 && w.lengthAllowed(status) {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if status == http.StatusNotModified && w.opt.Protocol == message.HTTP1 {
		keep304(h)
	}
	// A response whose end is not marked by its length ends after the handler, which is too late for linger.
	endless := w.opt.Protocol == message.HTTP1 && length < 0 && !w.noBody
	w.leave = w.leave || w.opt.Closing(w.hr.Context()) || endless && w.sent.unread()
	if w.leave && w.opt.Protocol != message.HTTP3 {
		h["Connection"] = []string{"close"} // for HTTP/2 the server turns it into GOAWAY
	}
	w.beforeWrite()
	w.hw.WriteHeader(status)
	if w.noBody && length < 0 && w.opt.Protocol == message.HTTP3 {
		return clientGone(w.rc.Flush()) // else the server finds that no byte was written, and says that the length is 0
	}
	return nil
}

// lengthAllowed is false for a 204 (RFC 9110 §8.6), and for a 304 over HTTP/2: RFC 9113 §8.1.1 allows it there, but Go's client
// waits for a body then.
func (w *writer) lengthAllowed(status int) bool {
	return status != http.StatusNoContent && !(status == http.StatusNotModified && w.opt.Protocol == message.HTTP2)
}

// keep304 keeps the fields that net/http takes out of a 304: RFC 9110 §15.4.5 allows them, and a cache behind us may want them.
// Names not in canonical form pass net/http by.
func keep304(h http.Header) {
	for _, name := range []string{"Content-Length", "Content-Type"} {
		if v := h[name]; v != nil {
			h[strings.ToLower(name)] = v
			delete(h, name)
		}
	}
}

// Write implements message.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	switch {
	case w.aborted:
		return 0, errAborted
	case !w.wroteHeader:
		return 0, errNoHeader
	case w.noBody || len(p) == 0:
		return len(p), nil
	case w.length >= 0 && int64(len(p)) > w.length-w.written:
		return 0, errTooLong
	}
	w.beforeWrite()
	n, err := w.hw.Write(p)
	w.written += int64(n)
	return n, clientGone(err)
}

// Flush implements message.ResponseWriter.
func (w *writer) Flush() error {
	switch {
	case w.aborted:
		return errAborted
	case !w.wroteHeader:
		return errNoHeader
	}
	w.beforeWrite()
	return clientGone(w.rc.Flush())
}

// WriteTrailers implements message.ResponseWriter. A response with a declared length has no room for trailers in HTTP/1.1;
// they are dropped there.
func (w *writer) WriteTrailers(fields message.Fields) error {
	switch {
	case w.aborted:
		return errAborted
	case !w.wroteHeader:
		return errNoHeader
	case w.noBody:
		return nil
	}
	h := w.hw.Header()
	if w.opt.Protocol == message.HTTP1 && w.length < 0 {
		// net/http decides on chunked with what it has seen when the header section leaves; trailers need it.
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if sendable(f) && httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(f.Name)) {
			key := http.TrailerPrefix + http.CanonicalHeaderKey(f.Name)
			h[key] = append(h[key], f.Value)
		}
	}
	return nil
}

// SwitchProtocols implements message.ResponseWriter. No request that asks for it is ever handed out.
func (w *writer) SwitchProtocols(message.Fields) (message.Tunnel, error) {
	return nil, errors.ErrUnsupported
}

// Abort implements message.ResponseWriter.
func (w *writer) Abort() { w.aborted = true }

// linger takes what is left of an HTTP/1.1 request's body, so that the connection can go on; false when it can't. net/http would do so
// itself, but takes the connection for ready when the time is up, and the rest of the body for a request (which is request smuggling
// where another proxy is in front). Nor can it end a body after the handler in full duplex: the next request panics.
func (w *writer) linger() bool {
	_ = w.rc.SetReadDeadline(time.Now().Add(lingerBody))
	if w.leave || w.hr.Header.Get("Expect") != "" {
		return true // net/http closes the connection: the response said so, or the client was not told to send its body
	}
	if w.rc.Flush() != nil {
		return false
	}
	_, err := io.Copy(io.Discard, w.hr.Body)
	return err == nil
}

// complete reports whether the response is all that it declared to be.
func (w *writer) complete() bool {
	return w.wroteHeader && !w.aborted && (w.noBody || w.length < 0 || w.written == w.length)
}

func (w *writer) beforeWrite() {
	pushDeadline(&w.deadline, w.opt.Stall, w.rc.SetWriteDeadline)
}

// pushDeadline moves a deadline to stall from now, unless less than a quarter of stall has gone by since it was last moved:
// setting one is not free.
func pushDeadline(at *time.Time, stall time.Duration, set func(time.Time) error) {
	if stall <= 0 {
		return
	}
	if next := time.Now().Add(stall); next.Sub(*at) > stall/4 {
		*at = next
		_ = set(next)
	}
}

func clientGone(err error) error {
	if err == nil {
		return nil
	}
	return &message.Error{Blame: message.BlameClient, Reason: "response not taken", Err: err}
}

func setFields(h http.Header, fields message.Fields) {
	for _, f := range fields {
		if !sendable(f) {
			continue
		}
		key := http.CanonicalHeaderKey(f.Name)
		h[key] = append(h[key], f.Value)
	}
}

// sendable keeps out what would break the framing: connection-specific fields and bytes that end a field line.
func sendable(f message.Field) bool {
	return !hopByHop(f.Name) && httpguts.ValidHeaderFieldName(f.Name) && httpguts.ValidHeaderFieldValue(f.Value)
}
