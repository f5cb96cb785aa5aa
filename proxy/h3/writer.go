package h3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
)

var (
	errHeaderTwice = errors.New("the header section has been written already")
	errNoHeader    = errors.New("the header section has not been written")
	errTooLong     = errors.New("the body is longer than its declared length")
	errAborted     = errors.New("the exchange was aborted")
	errDone        = errors.New("the exchange is over")
	errInterrupted = errors.New("interrupted")
	errNoUpgrade   = fmt.Errorf("the client did not ask for another protocol: %w", errors.ErrUnsupported)
)

// responder is the message.ResponseWriter of one exchange. It is not used again. What it has not sent yet is in the exchange's out.
type responder struct {
	wrote atomic.Bool // the final header section

	mu      sync.Mutex
	x       *exchange // nil when the exchange is over
	noBody  bool      // HEAD, 204, 304: what is written goes nowhere
	length  int64     // declared, -1 when not
	written int64
	aborted bool
	ended   bool // trailers were written
	tunnel  *tunnel
}

// serve calls the handler.
func (x *exchange) serve() {
	w := &responder{x: x, length: -1}
	x.resp = w
	ctx, cancel := x.context()
	defer func() { // also when the handler panics
		cancel()
		w.over()
		x.endBody()
	}()
	x.conn.server.handler.Serve(ctx, w, &x.req)
	gone := byClient(context.Cause(x.str.Context()))
	w.finish(ctx)
	if gone {
		x.conn.wasted()
	}
}

// check is the beginning of every call.
func (w *responder) check() error {
	switch {
	case w.x == nil || w.ended || w.tunnel != nil:
		return errDone
	case w.aborted:
		return errAborted
	}
	return nil
}

// WriteInformational implements message.ResponseWriter. 100 we send ourselves.
func (w *responder) WriteInformational(status int, fields message.Fields) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return err
	case w.wrote.Load():
		return errHeaderTwice
	case status < 100 || status > 199 || status == 101:
		return fmt.Errorf("%d is not an informational status that can be sent", status)
	case status == 100:
		return nil
	}
	return w.informational(status, fields)
}

func (w *responder) informational(status int, fields message.Fields) error {
	out, at := beginHeaders(w.x.out)
	out = appendFields(qpack.AppendStatus(out, status), fields)
	w.x.out = endHeaders(out, at)
	return w.flush()
}

// goOn sends a 100 (Continue), unless the final response has begun.
func (w *responder) goOn() {
	if w == nil || w.wrote.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.check() == nil && !w.wrote.Load() {
		_ = w.informational(100, nil)
	}
}

// WriteHeader implements message.ResponseWriter.
func (w *responder) WriteHeader(status int, fields message.Fields, length int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return err
	case w.wrote.Load():
		return errHeaderTwice
	case status < 200 || status > 999:
		return fmt.Errorf("%d is not a final status", status)
	}
	w.wrote.Store(true)
	w.length = length
	w.noBody = w.x.req.Method == "HEAD" || status == 204 || status == 304
	w.x.out = w.x.appendHeader(w.x.out, status, nil, fields, length)
	if !w.noBody && length > 0 {
		// One DATA frame has all the content, since its length is known.
		w.x.out = appendVarint(append(w.x.out, frameData), uint64(length))
	}
	return nil
}

// Write implements message.ResponseWriter.
func (w *responder) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return 0, err
	case !w.wrote.Load():
		return 0, errNoHeader
	case w.noBody || len(p) == 0:
		return len(p), nil
	case w.length >= 0 && int64(len(p)) > w.length-w.written:
		return 0, errTooLong
	}
	x := w.x
	if w.length < 0 {
		x.out = appendVarint(append(x.out, frameData), uint64(len(p)))
	}
	if len(x.out)+len(p) <= gather {
		x.out = append(x.out, p...)
		w.written += int64(len(p))
		return len(p), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	n, err := x.send(p)
	w.written += int64(n)
	return n, clientGone(err)
}

// Flush implements message.ResponseWriter.
func (w *responder) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return err
	case !w.wrote.Load():
		return errNoHeader
	}
	return w.flush()
}

func (w *responder) flush() error {
	out := w.x.out
	w.x.out = out[:0]
	if len(out) == 0 {
		return nil
	}
	_, err := w.x.send(out)
	return clientGone(err)
}

// WriteTrailers implements message.ResponseWriter.
func (w *responder) WriteTrailers(fields message.Fields) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return err
	case !w.wrote.Load():
		return errNoHeader
	case w.noBody:
		return nil
	case w.length >= 0 && w.written < w.length:
		return errors.New("the body is shorter than its declared length")
	}
	w.ended = true
	out, at := beginHeaders(w.x.out)
	out = appendFields(out, fields)
	w.x.out = endHeaders(out, at)
	return w.flush()
}

// SwitchProtocols implements message.ResponseWriter (RFC 9220).
func (w *responder) SwitchProtocols(fields message.Fields) (message.Tunnel, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.check(); {
	case err != nil:
		return nil, err
	case w.wrote.Load():
		return nil, errHeaderTwice
	case w.x.req.Upgrade == "":
		return nil, errNoUpgrade
	}
	w.wrote.Store(true)
	w.x.out = w.x.appendHeader(w.x.out, 200, nil, fields, -1)
	if err := w.flush(); err != nil {
		return nil, err
	}
	w.tunnel = newTunnel(w.x)
	return w.tunnel, nil
}

// Abort implements message.ResponseWriter.
func (w *responder) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x != nil && !w.aborted {
		w.aborted = true
		w.x.abort(codeInternal)
	}
}

// finish ends the response when the handler has returned.
func (w *responder) finish(ctx context.Context) {
	if !w.wrote.Load() && ctx.Err() == nil {
		_ = w.WriteHeader(500, nil, 0)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.aborted:
	case w.tunnel != nil:
		if w.tunnel.end() {
			w.x.close()
		} else {
			w.x.abort(codeRequestCancelled)
		}
	case w.wrote.Load() && (w.noBody || w.length < 0 || w.written == w.length) && w.flush() == nil && !w.x.broken:
		w.x.close()
	default:
		w.x.abort(codeInternal)
	}
}

// over ends the responder's hold on the exchange.
func (w *responder) over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tunnel != nil {
		w.tunnel.end()
	}
	w.x = nil
}

func clientGone(err error) error {
	if err == nil {
		return nil
	}
	return &message.Error{Blame: message.BlameClient, Reason: "response not taken", Err: err}
}
