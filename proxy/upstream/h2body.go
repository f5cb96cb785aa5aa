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
	"nearcast/proxy/message/wire"
)

// requestBody is a request's body for x/net, which reads it in a goroutine of its own.
type requestBody struct {
	body     io.Reader
	sent     func() // called when the last byte was handed over
	trailers func() message.Fields
	into     http.Header

	touched atomic.Bool
	fault   atomic.Pointer[message.Error] // what the reader failed with

	wait  time.Duration // ResponseTimeout
	stall *time.Timer   // runs while the origin is to take what was read; nil without a limit

	mu      sync.Mutex
	quiet   sync.Cond // a Read is over
	reading bool      // a Read is going on
	over    bool      // none may begin
	whole   bool      // all was read
}

// newRequestBody calls late when the origin takes nothing for the time of wait, if that is not 0.
func newRequestBody(body io.Reader, wait time.Duration, late func()) *requestBody {
	b := &requestBody{body: body, wait: wait}
	b.quiet.L = &b.mu
	if wait > 0 {
		b.stall = time.AfterFunc(wait, late)
	}
	return b
}

func (b *requestBody) Read(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := readBody(b.body, p)
	if err == io.EOF {
		b.ended()
	}
	return n, b.done(err)
}

// begin begins a Read. The origin has taken all there was: it is the client's turn.
func (b *requestBody) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return errOver
	case b.whole:
		return io.EOF
	}
	b.reading = true
	b.touched.Store(true)
	b.stopStall()
	return nil
}

// done ends a Read, and returns the error that it is to return.
func (b *requestBody) done(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.quiet.Broadcast()
	switch {
	case err == io.EOF:
		b.whole = true
	case b.over:
	case err != nil:
		e := bodyError(err)
		b.fault.CompareAndSwap(nil, e)
		return e
	case b.stall != nil:
		b.stall.Reset(b.wait)
	}
	return err
}

func (b *requestBody) stopStall() {
	if b.stall != nil {
		b.stall.Stop()
	}
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

// Close is called by x/net when it wants no more of the body. A Read in progress would hold up the stream's end, and with it RoundTrip.
func (b *requestBody) Close() error {
	b.quit()
	return nil
}

// quit lets no Read begin, and interrupts the one that is going on.
func (b *requestBody) quit() {
	b.mu.Lock()
	b.over = true
	b.stopStall()
	reading := b.reading
	b.mu.Unlock()
	if i, ok := b.body.(message.Interrupter); ok && reading {
		i.Interrupt()
	}
}

// end returns when no Read is going on, and lets none begin.
func (b *requestBody) end() {
	b.quit()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading {
		b.quiet.Wait()
	}
}

// responseBody is a response's body that x/net reads.
type responseBody struct {
	x      *exchange2
	ctx    context.Context // the stream's
	hr     *http.Response
	res    *Response
	timer  *time.Timer // of a wait; nil while none has begun
	closed atomic.Bool
	stop   func() bool // takes back that the stream's context calls abort
	once   sync.Once
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
		b.res.trailers.DeleteFunc(func(f message.Field) bool { return !wire.TrailerAllowed(f.Name) })
		return n, io.EOF
	}
	return n, b.fault(err)
}

func (b *responseBody) fault(err error) *message.Error {
	switch context.Cause(b.ctx) {
	case errBodyLate:
		return originFault(http.StatusGatewayTimeout, reasonReadTimeout, err)
	case errAnswerLate:
		return originFault(http.StatusGatewayTimeout, reasonTimeout, err)
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
	b.stop()
	b.x.endBody() // x/net waits for the goroutine that reads it
	b.abort()
	b.x.end()
	if !b.x.a.last {
		b.x.o.inFlight.Add(-1)
	}
	return nil
}

// abort ends x/net's side of the stream. The end of the stream's context alone would not, while x/net waits for the request's body or for
// room to send it.
func (b *responseBody) abort() {
	b.once.Do(func() { _ = b.hr.Body.Close() }) // once: each time it gives the flow-control window back
}

// tunnel2 is a stream that speaks another protocol now.
type tunnel2 struct {
	*responseBody
	pipe *io.PipeWriter
}

func (t *tunnel2) Read(p []byte) (int, error)  { return t.hr.Body.Read(p) }
func (t *tunnel2) Write(p []byte) (int, error) { return t.pipe.Write(p) }
func (t *tunnel2) CloseWrite() error           { return t.pipe.Close() }
