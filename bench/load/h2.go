package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// h2 is one HTTP/2 connection, over and over. The goroutine that works reads; it starts requests in the place of those that it has seen end,
// and writes them together just before it has to wait. In an open loop another goroutine starts the requests as they arrive.
type h2 struct {
	*run
	choose *chooser
	link   link
	// writing is when the write under way began, in ns, 0 for none.
	writing atomic.Int64

	// Used by the reader alone.
	frames   frames
	statuses *statuses
	buf      []byte
	kept     int // bytes in buf that no frame has used yet
	block    []byte
	opened   frame // the HEADERS frame whose block goes on in CONTINUATION frames; kind is 0 when there is none

	mu      sync.Mutex
	room    *sync.Cond // signalled when a stream or the connection ends or begins
	tally   tally
	form    h2Form
	out     []byte
	up      bool // streams may be opened
	ended   bool // there are no more tickets
	dead    bool // the worker is done
	settled bool // the server's SETTINGS have come
	id      uint32
	max     int
	flow    h2Flow
	index   map[uint32]int32 // of open streams in slots
	slots   []h2Stream
	free    []int32
	again   []h2Stream // requests to be made once there is room: the server has not seen them
	heard   time.Duration
	expired sync.WaitGroup
}

// h2Stream is a request.
type h2Stream struct {
	ticket
	target   pick
	id       uint32 // 0 for a free slot
	sent     time.Duration
	status   int
	bytes    int64
	consumed int // not yet given back to the stream's window
	body     int // bytes of the request's body still to be sent
	window   int64
}

func newH2(r *run, n uint64) *h2 {
	w := &h2{run: r, choose: r.targets.chooser(r.Seed, n), tally: tally{book: r.book}, form: newH2Form(r.plan),
		buf: make([]byte, r.buffer), index: make(map[uint32]int32, r.Streams), slots: make([]h2Stream, r.Streams)}
	w.room = sync.NewCond(&w.mu)
	for i := range w.slots {
		w.free = append(w.free, int32(i))
	}
	return w
}

// open connects and waits for the server's SETTINGS, which say how many streams it takes.
func (w *h2) open(ctx context.Context) error {
	nc, _, err := w.dialTCP(ctx, w.flush)
	if err != nil {
		return err
	}
	w.link.set(nc)
	if ctx.Err() != nil { // abort may have come before
		w.link.close()
		return ctx.Err()
	}
	w.frames, w.statuses, w.kept, w.block, w.opened = frames{}, newStatuses(), 0, nil, frame{}
	w.mu.Lock()
	w.up, w.settled, w.id, w.max, w.flow = false, false, 1, w.Streams, newH2Flow()
	w.out = appendPreface(w.out[:0])
	w.mu.Unlock()
	nc.SetDeadline(time.Now().Add(w.Timeout))
	for !w.settled {
		if err := w.read(nc); err != nil {
			w.link.close()
			return w.ending(err)
		}
	}
	if w.max == 0 {
		w.link.close()
		return failed(Protocol, "the server allows no streams")
	}
	nc.SetDeadline(time.Time{})
	w.mu.Lock()
	w.up, w.heard = true, w.now()
	w.room.Broadcast()
	w.mu.Unlock()
	return nil
}

func (w *h2) abort() { w.link.close() }

func (w *h2) work(ctx context.Context) {
	var sender sync.WaitGroup
	if w.Rate > 0 {
		sender.Go(w.send)
	}
	for first := true; w.connected(ctx, first); first = false {
		err := w.serve()
		w.lose(err)
		if w.finished() {
			break
		}
	}
	w.mu.Lock()
	w.dead = true
	w.room.Broadcast()
	w.mu.Unlock()
	w.link.close()
	sender.Wait()
	w.expired.Wait()
	w.tally.flush()
}

// connected sees to it that there is a connection; false is the end of all work.
func (w *h2) connected(ctx context.Context, first bool) bool {
	for !first || w.link.get() == nil {
		if w.aborted.Load() || w.finished() {
			return false
		}
		w.book.redial()
		err := w.open(ctx)
		if err == nil {
			return true
		}
		w.refuse(err)
		sleep(ctx, redial)
	}
	return true
}

// finished reports that nothing is left to do.
func (w *h2) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle() && w.ended || w.aborted.Load()
}

// idle reports that no request is in flight or waits for room.
func (w *h2) idle() bool { return len(w.index) == 0 && len(w.again) == 0 }

// refuse fails the requests that a failed attempt to connect has cost: those that wait for it, and one that wants to start.
func (w *h2) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, s := range w.again {
		w.failedWith(s.ticket, now, err, 0)
	}
	w.again = w.again[:0]
	t, ok, ended := ticket{}, false, false
	if w.Rate > 0 {
		t, ok, ended = w.due()
	} else {
		t, ok = w.next(now)
		ended = !ok
	}
	if ok {
		w.failedWith(t, now, err, 0)
	}
	w.ended = w.ended || ended
}

// serve reads until the connection breaks, or nothing is left to do on it.
func (w *h2) serve() error {
	nc := w.link.get()
	if nc == nil {
		return net.ErrClosed
	}
	w.mu.Lock()
	w.fill(w.now())
	w.mu.Unlock()
	for !w.spent() {
		if err := w.read(nc); err != nil {
			return err
		}
	}
	return nil
}

// spent reports that this connection has no more to do.
func (w *h2) spent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.index) == 0 && (!w.up || w.ended && len(w.again) == 0)
}

// lose ends the connection and fails what was in flight on it.
func (w *h2) lose(err error) {
	w.link.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = false
	if err != nil {
		err = w.ending(err)
	}
	now := w.now()
	for i := range w.slots {
		if s := &w.slots[i]; s.id != 0 {
			w.failedWith(s.ticket, now, err, s.status)
			w.release(s.id)
		}
	}
}

// ending says what an error of the connection means for its requests.
func (w *h2) ending(err error) error {
	switch classOf(err) {
	case Timeout:
		return errTimeout
	case Closed:
		return failed(Closed, "the connection was closed with requests in flight")
	}
	return err
}

// read reads once and handles what came; what was put off is written before it waits.
func (w *h2) read(nc net.Conn) error {
	if w.tls == nil {
		if err := w.flush(); err != nil {
			return err
		}
	}
	n, err := nc.Read(w.buf[w.kept:])
	if n == 0 && err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.heard = now
	rest := w.buf[:w.kept+n]
	for {
		f, used, ok, err := w.frames.next(rest)
		if err != nil {
			return err
		}
		rest = rest[used:]
		if !ok {
			break
		}
		if err := w.handle(f, now); err != nil {
			return err
		}
	}
	w.kept = copy(w.buf, rest)
	w.fill(now)
	return nil
}

// flush writes what was put off.
func (w *h2) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushLocked()
}

func (w *h2) flushLocked() error {
	for {
		w.sendBodies()
		if len(w.out) == 0 {
			return nil
		}
		nc := w.link.get()
		if nc == nil {
			return net.ErrClosed
		}
		w.writing.Store(max(1, int64(w.now())))
		_, err := nc.Write(w.out)
		w.writing.Store(0)
		w.out = w.out[:0]
		if err != nil {
			return err
		}
	}
}
