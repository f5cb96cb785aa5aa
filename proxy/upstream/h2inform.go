package upstream

import (
	"sync"

	"nearcast/proxy/message"
)

// informer passes informational responses on while the attempt lasts. x/net gives them in the goroutine that reads the connection for
// everyone, which must not wait for one client; so another goroutine does.
type informer struct {
	to func(int, message.Fields)

	mu     sync.Mutex
	closed bool
	queue  chan hint // never full: there are fewer than maxHints; nil before the first
	done   chan *message.Error
}

// hint is an informational response.
type hint struct {
	status int
	fields message.Fields
}

func (i *informer) pass(status int, f message.Fields) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return
	}
	if i.queue == nil {
		i.queue, i.done = make(chan hint, maxHints), make(chan *message.Error, 1)
		go func() { i.done <- i.run() }()
	}
	i.queue <- hint{status, f}
}

// run ends with the queue. A panic ends no more than the exchange, as in readBody.
func (i *informer) run() (err *message.Error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	for h := range i.queue {
		i.to(h.status, h.fields)
	}
	return nil
}

// close returns when all that came was passed on, or why it was not.
func (i *informer) close() *message.Error {
	i.mu.Lock()
	i.closed = true
	queue := i.queue
	i.mu.Unlock()
	if queue == nil {
		return nil
	}
	close(queue)
	return <-i.done
}
