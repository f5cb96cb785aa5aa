package cache

import (
	"context"
	"time"

	"nearcast/proxy/message"
)

// Object is a stored response, or one that is arriving. It is immutable but for its body, which grows until it is complete.
// Fields must not be modified: every reader shares them.
type Object struct {
	Status int
	// Fields holds what may be reused: no connection-specific fields, no Age, no Content-Length, no field that private or
	// no-cache names. It always has a Date. The leader answers its own client with the fields it received, not with these.
	Fields message.Fields
	// Length is the body's length in bytes, -1 while it is arriving and the origin has not said.
	Length int64

	received   time.Time
	initialAge time.Duration
	lifetime   time.Duration
	body       *body
}

// Age is the object's current age (RFC 9111 §4.2.3).
func (o *Object) Age(now time.Time) time.Duration {
	return o.initialAge + max(now.Sub(o.received), 0)
}

// TTL is the freshness that is left; negative when the object is stale.
func (o *Object) TTL(now time.Time) time.Duration { return o.lifetime - o.Age(now) }

// Bytes returns the whole body when it is complete and in one piece: the short way for small objects. The slice is shared and must not be modified.
func (o *Object) Bytes() ([]byte, bool) { return nil, false }

// Trailers returns the trailer section; nil when there is none or the body is not complete.
func (o *Object) Trailers() message.Fields { return nil }

// NewReader returns a reader of the part rg, Whole for all of it. It fails with ErrGone when the body has begun to pass through
// without being kept, and its beginning with it: the caller then fetches for itself. So make the reader before the header
// section is sent. Close must be called.
func (o *Object) NewReader(ctx context.Context, rg Range) (*Reader, error) { return nil, ErrGone }

// Reader reads a body at its own pace. It is used by one goroutine.
type Reader struct{}

// Next returns the next bytes, blocking until some have arrived; io.EOF at the end. The slice is shared and must not be modified.
func (r *Reader) Next() ([]byte, error) { return nil, ErrGone }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) { return 0, ErrGone }

// Close lets go of the body.
func (r *Reader) Close() error { return nil }

type body struct{}
