package message

import (
	"context"
	"sync"
	"time"
)

// Context is the context of one exchange. It ends when the front end calls End: when the client goes away, when the server stops, and
// when the exchange is over. It has the values of the server's context, and [Cut] knows that.
//
// There is one for each request that has a handler, so it costs less than package context's: one allocation, no lock shared with other
// exchanges, and a channel only when somebody asks for it.
type Context struct {
	server context.Context

	mu    sync.Mutex
	done  chan struct{} // nil until it is asked for
	ended bool
	cause error
	hooks *Hook
}

// Hook is a function that is called when a [Context] ends, which costs less than [context.AfterFunc]. It can be used again after Unhook.
type Hook struct {
	F func() // called by the goroutine that ends the context: it must not wait

	on         *Context // that it waits for
	prev, next *Hook
}

// NewContext returns the context of an exchange on a server whose own is given.
func NewContext(server context.Context) *Context { return &Context{server: server} }

// End ends the context, for a cause that [Cause] tells; nil for no other than that it has ended. The hooks have been called when it returns, unless another call is about it.
func (c *Context) End(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended, c.cause = true, cause
		if c.done != nil {
			close(c.done)
		}
	}
	for h := c.hooks; h != nil; h = c.hooks {
		c.remove(h)
		c.mu.Unlock()
		h.F()
		c.mu.Lock()
	}
}

// Hook has h called when the context ends, at once when it has ended. A hook is on one context at a time.
func (c *Context) Hook(h *Hook) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		h.F()
		return
	}
	defer c.mu.Unlock()
	if h.next = c.hooks; h.next != nil {
		h.next.prev = h
	}
	h.on, c.hooks = c, h
}

// Unhook takes h back. It reports whether h has not been called, and will not be; else it may still be running.
func (c *Context) Unhook(h *Hook) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.on != c {
		return false
	}
	c.remove(h)
	return true
}

func (c *Context) remove(h *Hook) {
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		c.hooks = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.on, h.prev, h.next = nil, nil, nil
}

// Deadline implements context.Context: there is none.
func (c *Context) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return context.Canceled
	}
	return nil
}

// Value implements context.Context.
func (c *Context) Value(key any) any {
	if key == (serverKey{}) {
		return c.server
	}
	return c.server.Value(key)
}

// AfterFunc is what package context uses, where it finds it, instead of a goroutine that waits for Done.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	h := &Hook{F: func() { go f() }}
	c.Hook(h)
	return func() bool { return c.Unhook(h) }
}

// Cause is [context.Cause], which cannot know that of a Context. It does not look through contexts made from one.
func Cause(ctx context.Context) error {
	if c, ok := ctx.(*Context); ok {
		c.mu.Lock()
		cause := c.cause
		c.mu.Unlock()
		if cause != nil {
			return cause
		}
	}
	return context.Cause(ctx)
}
