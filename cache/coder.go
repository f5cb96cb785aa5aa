package cache

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"nearcast/cache/coding"
)

const (
	// maxCodingQueue bounds the forms that wait to be made, and one codingShare of the budget the bodies that are held for them. What finds the
	// queue full is asked for again by a later request.
	maxCodingQueue = 128
	codingShare    = 16
	// codingPiece is how much is encoded before requests get their turn. Without that they would wait for the scheduler's time slice.
	codingPiece = 8 << 10
)

var (
	errNoGain   = errors.New("cache: the coded form is hardly smaller")
	errNoRoom   = errors.New("cache: there is no room for the coded form")
	errStopping = errors.New("cache: closing")
	errPanic    = errors.New("cache: the encoder panicked")
)

// maxCoding bounds the coded forms that are made at a time: one in four processors', and at least one. Each takes some megabytes for its encoder.
func maxCoding() int { return max(1, runtime.GOMAXPROCS(0)/4) }

// coder makes coded forms in the background. Its goroutines come with work and leave without; StopCoding waits for them.
type coder struct {
	c       *Cache
	encoder func(x coding.Coding, w io.Writer, level int, size int64) (io.WriteCloser, error)

	closed atomic.Bool
	full   atomic.Bool  // the queue had no place, and has not moved since
	waits  atomic.Int32 // len(queue), to be read without the lock

	mu      sync.Mutex
	queue   []codingJob
	bytes   int64 // of the bodies in the queue
	running int
	workers sync.WaitGroup
}

// codingJob is one form to make. It holds the body that it is made of.
type codingJob struct {
	d      *coded
	pieces Pieces
	length int64
	coding coding.Coding
}

// ask has a form made, unless it is being made. It does not block.
func (m *coder) ask(d *coded, o *Object, x coding.Coding) {
	if m.closed.Load() || d.bodies.asked[x].Load() {
		return
	}
	if m.full.Load() {
		m.c.counters.codingFull.Inc()
		return
	}
	if !d.bodies.asked[x].CompareAndSwap(false, true) {
		return
	}
	j := codingJob{d: d, length: o.body.size, coding: x}
	if d.bodies.made[x].Load() != nil || !o.Pin(&j.pieces, Whole) || !m.take(j) {
		j.pieces.Close()
		d.bodies.asked[x].Store(false)
	}
}

// take gives a job to a worker or the queue; false when there is no place.
func (m *coder) take(j codingJob) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed.Load():
		return false
	case m.running < maxCoding():
		m.running++
		m.workers.Go(func() { m.work(j) })
	case len(m.queue) == 0, len(m.queue) < maxCodingQueue && m.bytes+j.length <= m.c.budget.limit/codingShare:
		m.queue = append(m.queue, j)
		m.bytes += j.length
		m.waits.Store(int32(len(m.queue)))
	default:
		m.full.Store(true)
		m.c.counters.codingFull.Inc()
		return false
	}
	return true
}

// work makes forms until none is asked for.
func (m *coder) work(j codingJob) {
	for {
		m.make(&j)
		m.mu.Lock()
		if len(m.queue) == 0 {
			m.running--
			m.mu.Unlock()
			return
		}
		j = m.queue[0]
		m.bytes -= j.length
		m.queue[0] = codingJob{}
		m.queue = m.queue[1:]
		m.waits.Store(int32(len(m.queue)))
		m.full.Store(false)
		m.mu.Unlock()
	}
}

// make makes one form. Whatever happens, its source is let go and the form may be asked for again, if it is worth it.
func (m *coder) make(j *codingJob) {
	b := j.d.bodies
	defer b.asked[j.coding].Store(false)
	defer j.pieces.Close()
	if b.gone() {
		return
	}
	made := newBody(&m.c.budget, 0)
	err := m.encode(j, made)
	switch {
	case err == nil && b.add(j.coding, made):
		m.c.weigh(b)
		m.c.counters.coded[j.coding].Inc()
		m.c.counters.codedSaved[j.coding].AddInt64(j.length - made.size)
		m.c.packForm(j.d, j.coding, made)
		return
	case err == nil, errors.Is(err, errStopping):
	default:
		b.gaveUp.Store(true)
		m.c.counters.codingGaveUp(err)
	}
	made.detach()
}

// encode fills a body, whose bytes are the budget's. A panic of an encoder costs the form, never the process.
func (m *coder) encode(j *codingJob, made *body) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	to := &codedSink{c: m.c, body: made, limit: j.length - j.length/20}
	enc, err := m.encoder(j.coding, to, j.d.policy.level(j.coding), j.length)
	if err != nil {
		return err
	}
	for p := j.pieces.Next(); p != nil; p = j.pieces.Next() {
		for len(p) > 0 {
			if m.closed.Load() {
				return errStopping
			}
			n := min(len(p), codingPiece)
			if _, err = enc.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			runtime.Gosched()
		}
	}
	if err = enc.Close(); err != nil {
		return err
	}
	made.keep(nil, 0)
	return nil
}

// codedSink writes what an encoder makes into a body, as long as it is worth it.
type codedSink struct {
	c     *Cache
	body  *body
	limit int64 // a form that takes more saves less than a twentieth
}

func (s *codedSink) Write(p []byte) (int, error) {
	total := len(p)
	if s.body.size+int64(total) > s.limit {
		return 0, errNoGain
	}
	for {
		if p = s.body.fill(p); len(p) == 0 {
			return total, nil
		}
		n := min(max(s.body.size, int64(len(p)), 1<<10), maxChunk, s.limit-s.body.size)
		if !s.c.reserve(n) {
			return total - len(p), errNoRoom
		}
		s.body.grow(n)
	}
}

// StopCoding gives up the making of coded forms and waits until it has ended. The cache still serves afterwards.
func (c *Cache) StopCoding() {
	m := &c.coder
	m.mu.Lock()
	m.closed.Store(true)
	queue := m.queue
	m.queue, m.bytes = nil, 0
	m.waits.Store(0)
	m.mu.Unlock()
	for i := range queue {
		queue[i].pieces.Close()
	}
	m.workers.Wait()
}
