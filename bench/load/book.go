package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the longest latency that is told apart from longer ones.
const maxLatency = 10 * time.Minute

// newHistogram holds latencies in microseconds with three significant digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency.Microseconds(), 3) }

// book is what all connections have measured together.
type book struct {
	mu       sync.Mutex
	latency  *hdrhistogram.Histogram
	status   map[int]int64
	ok       int64
	failed   int64
	bytes    int64
	failures map[string]*Failure
	last     time.Duration // when the last measured request ended
	late     int64         // answers that came after the end
	lateMax  time.Duration
	retried  int64
	redials  int64
}

// Failure is how often a class of failure happened, and the text of its first.
type Failure struct {
	Count   int64  `json:"count"`
	Example string `json:"example"`
}

func newBook() *book {
	return &book{latency: newHistogram(), status: make(map[int]int64), failures: make(map[string]*Failure)}
}

// fail notes a failed request. The status is 0 when there was none.
func (b *book) fail(err error, status int, n int64) {
	class := classOf(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed += n
	if status != 0 {
		b.status[status] += n
	}
	f := b.failures[class]
	if f == nil {
		f = &Failure{Example: err.Error()}
		b.failures[class] = f
	}
	f.Count += n
}

func (b *book) ended(at time.Duration) {
	b.mu.Lock()
	b.last = max(b.last, at)
	b.mu.Unlock()
}

func (b *book) tooLate(latency time.Duration) {
	b.mu.Lock()
	b.late++
	b.lateMax = max(b.lateMax, latency)
	b.mu.Unlock()
}

func (b *book) retry(n int) {
	b.mu.Lock()
	b.retried += int64(n)
	b.mu.Unlock()
}

func (b *book) redial() {
	b.mu.Lock()
	b.redials++
	b.mu.Unlock()
}

func (b *book) progress() (ok, failed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ok, b.failed
}

// flushEvery is how long a tally may keep what it holds, so that progress is seen.
const flushEvery = 200 * time.Millisecond

// tally gathers the successes of one connection, so that the book's lock is taken once for many. One goroutine uses it at a time.
type tally struct {
	book    *book
	latency [256]int64 // µs
	n       int
	status  int
	bytes   int64
	last    time.Duration // end of the last one
	flushed time.Duration
}

// add notes a success that ended at the given time.
func (t *tally) add(latency, end time.Duration, status int, bytes int64) {
	if t.n > 0 && (t.n == len(t.latency) || status != t.status || end-t.flushed > flushEvery) {
		t.flush()
		t.flushed = end
	}
	t.status = status
	t.latency[t.n] = min(max(latency, time.Microsecond), maxLatency).Microseconds()
	t.n++
	t.bytes += bytes
	t.last = end
}

func (t *tally) flush() {
	if t.n == 0 {
		return
	}
	b := t.book
	b.mu.Lock()
	for _, l := range t.latency[:t.n] {
		b.latency.RecordValue(l)
	}
	b.ok += int64(t.n)
	if t.status != 0 { // handshakes have none
		b.status[t.status] += int64(t.n)
	}
	b.bytes += t.bytes
	b.last = max(b.last, t.last)
	b.mu.Unlock()
	t.n, t.bytes = 0, 0
}
