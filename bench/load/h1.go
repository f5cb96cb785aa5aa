package load

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// h1 is one HTTP/1.1 connection, over and over, with one request at a time.
type h1 struct {
	*run
	choose *chooser
	tally  tally
	form   h1Form
	parser h1Parser
	buf    []byte
	out    []byte

	link link
	sent atomic.Int64 // when the request in flight was sent, in ns; 0 for none
	used bool         // the connection has carried a response
}

func newH1(r *run, n uint64) *h1 {
	return &h1{run: r, choose: r.targets.chooser(r.Seed, n), tally: tally{book: r.book}, form: newH1Form(r.plan),
		parser: h1Parser{head: r.Method == "HEAD"}, buf: make([]byte, r.buffer)}
}

func (w *h1) open(ctx context.Context) error {
	nc, _, err := w.dialTCP(ctx, nil)
	if err != nil {
		return err
	}
	w.used = false
	w.link.set(nc)
	if ctx.Err() != nil { // abort may have come before
		w.link.close()
	}
	return ctx.Err()
}

func (w *h1) abort() { w.link.close() }

func (w *h1) watch(deadline time.Duration) {
	sent := w.sent.Load()
	if sent == 0 || time.Duration(sent) > deadline {
		return
	}
	w.link.expire(func() bool { return w.sent.Load() == sent }) // not the next request
}

func (w *h1) work(ctx context.Context) {
	now := w.now()
	for {
		t, ok := w.next(now)
		if !ok {
			break
		}
		now = w.request(ctx, t, w.choose.next())
	}
	w.link.close()
	w.tally.flush()
}

// request makes one request, on a new connection if there is none, and returns when it ended.
func (w *h1) request(ctx context.Context, t ticket, target pick) time.Duration {
	for {
		if w.link.get() == nil {
			w.book.redial()
			if err := w.open(ctx); err != nil {
				w.failedWith(t, w.now(), err, 0)
				if w.Rate == 0 {
					sleep(ctx, redial)
				}
				return w.now()
			}
		}
		start := t.start
		if w.Rate > 0 {
			start = w.now()
		}
		w.sent.Store(max(1, int64(start)))
		err := w.exchange(target)
		w.sent.Store(0)
		now := w.now()
		switch {
		case err == nil:
			w.used = true
			w.succeeded(&w.tally, t, now, w.parser.status, w.parser.bytes, w.targets.wantLength(target))
			if w.parser.close {
				w.link.close()
			}
			return now
		case errors.Is(err, errUnanswered) && ctx.Err() == nil:
			w.book.retry(1)
			w.link.close()
		default:
			w.link.close()
			w.failedWith(t, now, err, w.parser.status)
			return now
		}
	}
}

// errUnanswered is a kept-alive connection that the server closed before any byte of an answer: it may not have seen the request (RFC 9112
// §9.3.1), which is made again on a new connection, as every client does.
var errUnanswered = errors.New("the connection was closed before an answer")

// exchange sends the request and reads its response.
func (w *h1) exchange(target pick) error {
	w.parser.reset()
	w.out = w.form.append(w.out[:0], w.targets, target)
	nc := w.link.get()
	if nc == nil {
		return net.ErrClosed // aborted
	}
	if _, err := nc.Write(w.out); err != nil {
		return w.broken(err, true)
	}
	kept := 0
	for first := true; ; first = false {
		n, err := nc.Read(w.buf[kept:])
		if n == 0 && err != nil {
			return w.broken(err, first)
		}
		kept += n
		used, done, err := w.parser.consume(w.buf[:kept])
		if err != nil {
			return err
		}
		if done {
			if used < kept {
				return failed(Protocol, "bytes after the end of the response")
			}
			return nil
		}
		kept = copy(w.buf, w.buf[used:kept])
	}
}

// broken says what the end of the connection means.
func (w *h1) broken(err error, first bool) error {
	if errors.Is(err, io.EOF) && w.parser.ends() {
		return nil
	}
	class := classOf(err)
	switch {
	case class == Timeout:
		return errTimeout
	case first && w.used && w.idempotent() && (class == Closed || class == Reset):
		return errUnanswered
	case class == Closed:
		return failed(Closed, "the connection was closed in the midst of the response")
	}
	return err
}

// h1Form makes requests: what stands before and after the path.
type h1Form struct{ before, after []byte }

func newH1Form(p *plan) (f h1Form) {
	f.before = append([]byte(p.Method), ' ')
	f.after = []byte(" HTTP/1.1\r\nHost: " + p.authority() + "\r\n")
	for _, h := range p.fields() {
		f.after = append(f.after, h.Name+": "+h.Value+"\r\n"...)
	}
	f.after = append(f.after, "\r\n"...)
	f.after = append(f.after, make([]byte, p.BodySize)...)
	return f
}

func (f *h1Form) append(b []byte, t *targets, target pick) []byte {
	b = append(b, f.before...)
	b = t.appendPath(b, target)
	return append(b, f.after...)
}
