package front

import (
	"context"
	"errors"
	"time"

	"nearcast/proxy/message"
)

const (
	// linger is how long after the last was accepted a connection without a request is kept, for the request that may be on its way.
	linger = time.Second
	// acceptTail is how long a closing listener still accepts what waits in the kernel's queue; closing resets those clients.
	acceptTail = 20 * time.Millisecond
)

// errPatience is why the connections that are still there at the end of Close are cut; see [message.Cut].
var errPatience = errors.New("the time to drain was over")

// begin makes the servers of h and puts the front into the state of running.
func (f *Front) begin(h message.Handler, cancel context.CancelCauseFunc, cutEarly context.CancelFunc) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped:
		return errors.New("the listeners have been closed")
	case f.cancel != nil:
		return errors.New("the listeners are being served already")
	}
	for _, l := range f.tcp {
		l.setHandler(f.handlerFor(h, f.marks(l)), f)
	}
	for _, l := range f.quic {
		l.h = f.handlerFor(h, marks{})
	}
	f.cancel, f.cutEarly = cancel, cutEarly
	if f.draining {
		f.drainAll()
	}
	return nil
}

// Drain tells every client to finish: GOAWAY on HTTP/2 and HTTP/3, "Connection: close" with the next HTTP/1.1 response.
// The listeners go on accepting, and each new connection is told the same with its first response. It does not block.
// Call it after the routes were withdrawn and the routers had time to settle: a client that leaves earlier comes back here.
func (f *Front) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		return
	}
	f.draining = true
	if f.cancel != nil {
		f.drainAll()
	}
}

func (f *Front) drainAll() {
	for _, l := range f.tcp {
		l.h1.Drain()
		l.h2.Drain()
	}
	for _, l := range f.quic {
		l.srv.Drain()
	}
}

// Close begins Drain if nobody did, stops accepting, waits until the requests in flight are done or ctx ends,
// and closes everything. It returns the number of requests that were cut. Idle connections cost it a second or two.
func (f *Front) Close(ctx context.Context) (cut int) {
	f.Drain()
	if !f.stop() {
		f.closeSockets()
		return 0
	}
	lingering := time.NewTimer(linger)
	defer lingering.Stop()
	select {
	case <-f.done:
		return 0
	case <-ctx.Done():
	case <-lingering.C:
		f.closeIdle()
		select {
		case <-f.done:
			return 0
		case <-ctx.Done():
		}
	}
	cut = int(f.requestsInFlight())
	f.cancel(errPatience)
	<-f.done
	return cut
}

// stop ends accepting. It returns false when Run has never begun.
func (f *Front) stop() (running bool) {
	f.mu.Lock()
	first := !f.stopped
	f.stopped = true
	running = f.cancel != nil
	f.mu.Unlock()
	if !first || !running {
		return running
	}
	for _, l := range f.tcp {
		l.stopAccepting()
	}
	for _, l := range f.quic {
		l.srv.StopAccepting()
	}
	close(f.stopping)
	return true
}

// stopAccepting lets the accept loop take what waits in the queue and end.
func (l *tcpListener) stopAccepting() {
	l.closing.Store(true)
	d, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	if !ok || d.SetDeadline(time.Now().Add(acceptTail)) != nil {
		l.ln.Close()
	}
}

// closeIdle ends the connections that no request is in flight on.
func (f *Front) closeIdle() {
	f.cutEarly()
	for _, l := range f.tcp {
		l.h1.CloseIdle()
		l.h2.CloseIdle()
	}
	for _, l := range f.quic {
		l.srv.CloseIdle()
	}
}
