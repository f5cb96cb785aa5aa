package load

import (
	"net"
	"sync"
	"time"
)

// link holds the connection of a worker, which others may end.
type link struct {
	mu sync.Mutex
	nc net.Conn
}

// get gives the connection, nil when there is none.
func (l *link) get() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nc
}

func (l *link) set(nc net.Conn) {
	l.mu.Lock()
	l.nc = nc
	l.mu.Unlock()
}

// close closes the connection. What reads from it learns so.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc != nil {
		l.nc.Close()
		l.nc = nil
	}
}

// expire lets everything under way on the connection time out, if it is still so that it should.
func (l *link) expire(still func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc != nil && still() {
		l.nc.SetDeadline(time.Unix(1, 0))
	}
}
