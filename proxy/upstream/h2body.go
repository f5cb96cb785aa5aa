package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
)

// requestBody is a request's body for x/net, which reads it in a goroutine of its own.
type requestBody struct {
	body     io.Reader
	sent     func() // called when the last byte was handed over
	trailers func() message.Fields
	into     http.Header

	touched, over atomic.Bool
	fault         atomic.Pointer[message.Error] // what the reader failed with
	reading       sync.Mutex
	whole         bool // guarded by reading
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.over.Load() {
		return 0, errOver
	}
	if b.whole {
		return 0, io.EOF
	}
	b.touched.Store(true)
	n, err := readBody(b.body, p)
	switch {
	case err == io.EOF:
		b.whole = true
		b.ended()
	case err != nil && !b.over.Load():
		e := bodyError(err)
		b.fault.CompareAndSwap(nil, e)
		return n, e
	}
	return n, err
}

// ended hands over the client's trailers: x/net sends the map's lines after the body, and keeps them as it does the header section's.
func (b *requestBody) ended() {
	if b.trailers != nil {
		for _, f := range b.trailers() {
			if !held(f.Name) {
				k := textproto.CanonicalMIMEHeaderKey(strings.Clone(f.Name))
				b.into[k] = append(b.into[k], strings.Clone(f.Value))
			}
		}
	}
	b.sent()
}

// Close is x/net's; end is what counts.
func (b *requestBody) Close() error { return nil }

// end returns when no Read is going on, and lets none begin.
func (b *requestBody) end() {
	b.over.Store(true)
	if b.reading.TryLock() {
		b.reading.Unlock()
		return
	}
	if i, ok := b.body.(message.Interrupter); ok {
		i.Interrupt()
	}
	b.reading.Lock()
	b.reading.Unlock() //lint:ignore SA2001 to have waited is all
}

// gate lets informational responses through only while the attempt lasts: x/net reads them in a goroutine of its own.
type gate struct {
	mu     sync.Mutex
	closed bool
	to     func(int, message.Fields)
}

func (g *gate) pass(status int, f message.Fields) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed && g.to != nil {
		g.to(status, f)
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// responseBody is a response's body that x/net reads.
type responseBody struct {
	x      *exchange2
	ctx    context.Context // the stream's
	hr     *http.Response
	res    *Response
	timer  *time.Timer // of a wait; nil while none has begun
	closed atomic.Bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	if d := b.x.o.cfg.ReadTimeout; d > 0 {
		if b.timer == nil {
			b.timer = time.AfterFunc(d, func() { b.x.cancel(errBodyLate) })
		} else {
			b.timer.Reset(d)
		}
		defer b.timer.Stop()
	}
	n, err := b.hr.Body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		b.res.trailers = fromHeader(b.hr.Trailer)
		return n, io.EOF
	}
	return n, b.fault(err)
}

func (b *responseBody) fault(err error) *message.Error {
	switch context.Cause(b.ctx) {
	case errBodyLate:
		return originFault(http.StatusGatewayTimeout, reasonReadTimeout, err)
	case errOver:
		return &message.Error{Blame: message.BlameEdge, Status: http.StatusBadGateway, Reason: reasonCut, Err: errBodyClosed}
	}
	if b.x.ctx.Err() != nil {
		return bodyFault(b.x.ctx, b.x.ctx.Err())
	}
	if b.x.body != nil {
		if f := b.x.body.fault.Load(); f != nil {
			return f
		}
	}
	return originFault(http.StatusBadGateway, reasonCut, err)
}

// Close ends the stream, and gives the exchange's place back.
func (b *responseBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	err := b.hr.Body.Close()
	b.x.end()
	if !b.x.a.last {
		b.x.o.inFlight.Add(-1)
	}
	return err
}

// tunnel2 is a stream that speaks another protocol now.
type tunnel2 struct {
	*responseBody
	pipe *io.PipeWriter
}

func (t *tunnel2) Read(p []byte) (int, error)  { return t.hr.Body.Read(p) }
func (t *tunnel2) Write(p []byte) (int, error) { return t.pipe.Write(p) }
func (t *tunnel2) CloseWrite() error           { return t.pipe.Close() }
