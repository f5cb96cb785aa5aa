package h3

import (
	"context"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// leadPatience is how long the leader waits for a request that has begun before it lets another goroutine accept the next.
	leadPatience = time.Millisecond
	// maxParked is how many goroutines wait on a busy connection for their turn to lead.
	maxParked = 4
)

// worker is a goroutine that serves requests. One worker of a connection leads: it accepts the next stream. It keeps the lead while it
// serves what it has accepted, as long as that can't wait for anything; before it may wait, it hands the lead over, to a parked
// worker or a new one. So a hit costs no other goroutine, and a request that waits keeps nobody. Their number is bounded by the requests in
// flight, and with them by MaxStreams: a stream's credit is released when its exchange is over, or later.
//
// There is never more than one in AcceptStream: quic-go wakes one of several for any number of new streams.
type worker struct {
	conn  *conn
	leads bool
	wake  chan bool // true: lead; false: end
}

// newWorker starts a worker that leads. The caller is one of the connection's goroutines.
func (c *conn) newWorker() {
	w := &worker{conn: c, leads: true, wake: make(chan bool, 1)}
	c.work.Go(w.run)
}

func (w *worker) run() {
	for {
		str, err := w.conn.qc.AcceptStream(context.Background()) // ends with the connection
		if err != nil {
			w.conn.dismiss(true)
			return
		}
		w.conn.exchange(w, str, str.StreamID())
		w.conn.credit(str)
		if !w.leads && !w.park() {
			return
		}
	}
}

// handOver lets another worker lead.
func (w *worker) handOver() {
	if w == nil || !w.leads {
		return
	}
	w.leads = false
	c := w.conn
	c.mu.Lock()
	var next *worker
	if n := len(c.parked); n > 0 {
		next = c.parked[n-1]
		c.parked = c.parked[:n-1]
	}
	c.mu.Unlock()
	if next != nil {
		next.wake <- true
	} else {
		c.newWorker()
	}
}

// park waits for the lead. It returns false when there are enough who do.
func (w *worker) park() bool {
	c := w.conn
	c.mu.Lock()
	if c.closed || len(c.parked) >= maxParked {
		c.mu.Unlock()
		return false
	}
	c.parked = append(c.parked, w)
	c.mu.Unlock()
	w.leads = <-w.wake
	return w.leads
}

// dismiss ends the parked workers; for good when the connection has ended.
func (c *conn) dismiss(forGood bool) {
	c.mu.Lock()
	parked := c.parked
	c.parked = nil
	c.closed = c.closed || forGood
	c.mu.Unlock()
	for _, w := range parked {
		w.wake <- false
	}
}

// credit lets the client open another stream in place of str, which is done with: not at once but several at a time, as each may cost
// a packet of its own. Those that wait are a quarter of MaxStreams at most.
func (c *conn) credit(str *quic.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, str)
	if keep := c.server.cfg.MaxStreams / 8; len(c.done) > 2*keep {
		c.releaseCredit(len(c.done) - keep)
	}
}

// releaseCredit gives back the credit of the n oldest. The caller holds the lock.
func (c *conn) releaseCredit(n int) {
	for _, str := range c.done[:n] {
		str.ReleaseStreamCredit()
	}
	c.done = slices.Delete(c.done, 0, n)
}

// exchange serves one stream. w may be nil, for a caller that nobody waits for.
func (c *conn) exchange(w *worker, str stream, id quic.StreamID) {
	x := exchanges.Get().(*exchange)
	x.on(c, w, str, int64(id))
	exchanges.Put(x)
}

// on serves one stream with x.
func (x *exchange) on(c *conn, w *worker, str stream, id int64) {
	x.begin(c, w, str, time.Now())
	if c.begin(x, id) {
		x.run()
		c.end(x)
	} else {
		x.fail(errRejected)
	}
	x.release()
}
