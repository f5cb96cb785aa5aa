package cache

import (
	"context"
	"errors"
	"time"

	"nearcast/proxy/message"
)

var (
	// ErrGone: the body passes through without being kept, and its beginning is gone.
	ErrGone = errors.New("cache: the beginning of the body is no longer held")
	// ErrLagging ends a reader that has kept everyone else from a body that passes through for too long.
	ErrLagging = errors.New("cache: the reader fell too far behind a response that is too large to store")
	// ErrAbandoned tells the leader that nothing is stored any more and nobody reads: the fetch may be given up.
	ErrAbandoned = errors.New("cache: nobody reads the response any more")
	// ErrIncomplete ends the readers of a body that was shorter or longer than its Content-Length.
	ErrIncomplete = errors.New("cache: the body's length is not what the header section said")
)

// Response is a header section from the origin.
type Response struct {
	Status int
	Fields message.Fields
	// Length is the body's length, -1 when it is not known.
	Length int64
	// Requested is when the request was sent, Received when the header section had come (RFC 9111 §4.2.3).
	Requested, Received time.Time
}

// Fill is one fetch that any number of requests share.
type Fill struct{}

// Begin starts the fetch for the key and the request's variant, or joins the one under way. The leader forwards, and must end the
// fill by exactly one call of Respond, NotModified or Fail (a panic or an early return included: a deferred Fail is harmless
// after the others). Everyone else calls Wait.
//
// After an answer that could not be shared, the key is remembered for a short time, and every caller is made the leader of a fill of its own.
func (c *Cache) Begin(now time.Time, key Key, r *message.Request) (f *Fill, leader bool) {
	return &Fill{}, true
}

// Wait returns when the leader knows the header section:
//   - an object, to be read as it arrives;
//   - ReasonOtherVariant: the response is not for this request; Begin again (a few times at most);
//   - another Reason, without object and error: fetch for yourself, without Begin;
//   - an error: ctx ended, or what the leader gave to Fail.
//
// A waiter that leaves costs nothing.
func (f *Fill) Wait(ctx context.Context, r *message.Request) (*Object, Reason, error) {
	return nil, ReasonFailed, nil
}

// Respond gives the fill its header section and decides whether the response is stored. With a Writer, the leader writes the body
// to it, and serves its own client from w.Object() (make that reader before the first Write). Without one, the Reason says why,
// the waiters have been released, and the leader streams to its client directly.
//
// r is the request as the client sent it. resp.Fields is not kept.
func (f *Fill) Respond(r *message.Request, resp Response, p *Policy) (*Writer, Reason) {
	return nil, ReasonNoStore
}

// NotModified ends the fill with a 304: stored's fields are updated and its freshness begins anew (RFC 9111 §3.2, §4.3.4). The
// leader and the waiters serve what it returns. It returns nil, and the fill stays open, when the 304 is not about stored:
// fetch again without conditions.
func (f *Fill) NotModified(r *message.Request, resp Response, stored *Object, p *Policy) *Object {
	return nil
}

// Fail ends the fill: every waiter gets err. It does nothing when the fill has already ended.
func (f *Fill) Fail(err error) {}

// Writer takes the body of a response that is being stored. It is used by one goroutine, and ends by Commit or Abort.
type Writer struct{}

// Object is what the writer fills.
func (w *Writer) Object() *Object { return nil }

// Write appends to the body. The bytes are copied. A body that outgrows max_object or the budget is not stored, but goes on to the
// readers it has, through a window of bounded size: Write then blocks while the slowest reader is a whole window behind; a
// reader that makes no progress for a while ends with ErrLagging, so that it can't hold the others for ever. ErrAbandoned when there is no reader left.
func (w *Writer) Write(p []byte) (int, error) { return len(p), nil }

// Commit ends the body and stores the object. trailers may be nil. The Reason is ReasonStored or why it was not stored.
func (w *Writer) Commit(trailers message.Fields) Reason { return ReasonNone }

// Abort ends the body with an error, which its readers see. Nothing is stored. It does nothing after Commit.
func (w *Writer) Abort(err error) {}
