package load

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// h3 is one HTTP/3 connection, over and over, with a goroutine for each request that it carries at once.
type h3 struct {
	*run
	form  h3Form
	lanes []*h3Lane

	mu      sync.Mutex
	link    *h3Link
	dialing *h3Dial   // the attempt under way
	leaving []*h3Link // links that are no longer used, closed at the end or when they are many
	gone    bool      // aborted
}

// h3Dial is an attempt to connect that several requests wait for.
type h3Dial struct {
	done chan struct{}
	link *h3Link
	err  error
}

// h3Lane makes one request after another.
type h3Lane struct {
	*h3
	choose *chooser
	tally  tally
	parser h3Parser
	out    []byte
	path   []byte
	buf    []byte
	sent   atomic.Int64 // when the request in flight was sent, in ns; 0 for none
	stream atomic.Pointer[quic.Stream]
}

func newH3(r *run, n uint64) *h3 {
	w := &h3{run: r, form: newH3Form(r.plan)}
	for i := range r.Streams {
		w.lanes = append(w.lanes, &h3Lane{h3: w, choose: r.targets.chooser(r.Seed, n*maxStreams+uint64(i)), tally: tally{book: r.book},
			buf: make([]byte, 16<<10)})
	}
	return w
}

func (w *h3) open(ctx context.Context) error {
	_, err := w.connect(ctx)
	return err
}

// idleQUIC is how long a QUIC connection may be idle: longer than any request takes, and than idle ones are held.
func (p *plan) idleQUIC() time.Duration { return max(10*time.Minute, 2*p.Timeout) }

// connect gives the connection, after making it if there is none. All that need one wait for the same attempt.
func (w *h3) connect(ctx context.Context) (*h3Link, error) {
	w.mu.Lock()
	if w.link != nil && w.link.usable() {
		defer w.mu.Unlock()
		return w.link, nil
	}
	if d := w.dialing; d != nil {
		w.mu.Unlock()
		<-d.done
		return d.link, d.err
	}
	if w.gone {
		w.mu.Unlock()
		return nil, context.Canceled
	}
	d := &h3Dial{done: make(chan struct{})}
	w.dialing = d
	if w.link != nil {
		w.leaving = append(w.leaving, w.link)
		w.link = nil
	}
	w.mu.Unlock()

	d.link, d.err = w.dialQUIC(ctx, w.idleQUIC())

	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialing, w.link = nil, d.link
	w.prune()
	close(d.done)
	return d.link, d.err
}

// prune closes links that have ended.
func (w *h3) prune() {
	kept := w.leaving[:0]
	for _, l := range w.leaving {
		if l.conn.Context().Err() != nil {
			l.close()
		} else {
			kept = append(kept, l)
		}
	}
	w.leaving = kept
}

func (w *h3) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	for _, l := range append(w.leaving, w.link) {
		if l != nil {
			l.conn.CloseWithError(h3NoError, "")
		}
	}
}

func (w *h3) watch(deadline time.Duration) {
	for _, l := range w.lanes {
		sent := l.sent.Load()
		if sent == 0 || time.Duration(sent) > deadline {
			continue
		}
		if s := l.stream.Load(); s != nil && l.sent.Load() == sent {
			s.SetDeadline(time.Unix(1, 0))
		}
	}
}

func (w *h3) work(ctx context.Context) {
	var lanes sync.WaitGroup
	for _, l := range w.lanes {
		lanes.Go(func() { l.work(ctx) })
	}
	lanes.Wait()
	w.finish()
}

// finish closes all connections.
func (w *h3) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range append(w.leaving, w.link) {
		if l != nil {
			l.close()
		}
	}
	w.leaving, w.link = nil, nil
}

func (l *h3Lane) work(ctx context.Context) {
	now := l.now()
	for {
		t, ok := l.next(now)
		if !ok {
			break
		}
		now = l.request(ctx, t, l.choose.next())
	}
	l.tally.flush()
}

// maxRejected is how often one request is made again after the server said that it had not looked at it.
const maxRejected = 3

// request makes one request and returns when it ended.
func (l *h3Lane) request(ctx context.Context, t ticket, target pick) time.Duration {
	for try := 0; ; try++ {
		link, err := l.connect(ctx)
		if err != nil {
			l.failedWith(t, l.now(), err, 0)
			if l.Rate == 0 {
				sleep(ctx, redial)
			}
			return l.now()
		}
		err = l.exchange(ctx, link, t, target)
		now := l.now()
		switch {
		case err == nil:
			l.succeeded(&l.tally, t, now, l.parser.status, l.parser.bytes, l.targets.wantLength(target))
			return now
		case try < maxRejected && ctx.Err() == nil && unseen(link, err):
			l.book.retry(1)
		default:
			if classOf(err) == Timeout {
				err = errTimeout
			}
			l.failedWith(t, now, err, l.parser.status)
			return now
		}
	}
}

// errNoStream is a connection that ended before a stream could be opened on it.
var errNoStream = errors.New("no stream could be opened")

// unseen reports that the server has not looked at the request (RFC 9114 §5.2, §8.1), which is made again.
func unseen(link *h3Link, err error) bool {
	if s, ok := errors.AsType[*quic.StreamError](err); ok && s.ErrorCode == h3RequestRejected {
		link.leaving.Store(true)
		return true
	}
	return errors.Is(err, errNoStream) && !link.usable()
}

// exchange sends the request and reads its response.
func (l *h3Lane) exchange(ctx context.Context, link *h3Link, t ticket, target pick) error {
	sent := t.start
	if l.Rate > 0 {
		sent = l.now()
	}
	l.parser = h3Parser{}
	s, err := link.conn.OpenStream()
	if err != nil {
		if s, err = l.openSlowly(ctx, link); err != nil {
			return err
		}
	}
	l.stream.Store(s)
	l.sent.Store(max(1, int64(sent)))
	err = l.transfer(s, target)
	l.sent.Store(0)
	if err != nil {
		s.CancelRead(h3RequestCancelled)
		s.CancelWrite(h3RequestCancelled)
	}
	return err
}

// openSlowly waits until the server allows another stream.
func (l *h3Lane) openSlowly(ctx context.Context, link *h3Link) (*quic.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	s, err := link.conn.OpenStreamSync(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, errors.Join(errNoStream, err)
	}
	return s, err
}

// satisfied reports that the server asked for no more of the request, without an error.
func satisfied(err error) bool {
	s, ok := errors.AsType[*quic.StreamError](err)
	return ok && s.Remote && s.ErrorCode == h3NoError
}

func (l *h3Lane) transfer(s *quic.Stream, target pick) error {
	l.out = l.form.append(l.out[:0], &l.path, l.targets, target)
	// A server that has its answer ready may want no more of the request (RFC 9114 §4.1): what matters is what it answers.
	if _, err := s.Write(l.out); err != nil && !satisfied(err) {
		return err
	}
	s.Close()
	for kept := 0; ; {
		if kept == len(l.buf) { // a large field section
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
		}
		n, err := s.Read(l.buf[kept:])
		used, bad := l.parser.consume(l.buf[:kept+n])
		if bad != nil {
			return bad
		}
		kept = copy(l.buf, l.buf[used:kept+n])
		if err == io.EOF {
			return l.parser.end(kept)
		}
		if err != nil {
			return err
		}
	}
}
