package message

// QuickHandler is a Handler that can answer some requests at once, from memory.
type QuickHandler interface {
	Handler
	// Quick returns an answer that is complete, or nil: then nothing has been sent, and Serve is to be called with the same request
	// (on the same or another goroutine). It never waits for anything but a short lock, so that a front end may call it in the loop that reads
	// the connection. It makes no allocation for a hit in the cache.
	Quick(r *Request) *Ready
}

// Ready is an answer that needs nothing but sending. The front end sends
//
//	Status, Block, Fields, Content-Length, then every piece that Body gives
//
// and calls Done exactly once, also when the client is gone before the first byte. It may do so long after Quick has returned, as flow
// control lets it. The request and all that a Ready holds are valid until then, and not after.
type Ready struct {
	Status int
	// Block is the part of the header section that is stored in encoded form. It may be nil.
	Block Block
	// Fields are the lines to send after it.
	Fields Fields
	// ContentLength is the value to declare, -1 for none.
	ContentLength int64
	// Body gives the content; nil when none is sent, as to HEAD and with 304, whatever ContentLength says.
	Body Pieces
	// BodyLength is the number of bytes that Body gives.
	BodyLength int64
	// Owner is told of the end.
	Owner ReadyOwner
	// Err is set by the front end, before Done, when it was not the client's doing that the answer is incomplete: the edge stops. It is nil
	// in a Ready that Quick returns.
	Err error
}

// Pieces is a body in memory.
type Pieces interface {
	// Next returns the next piece, nil after the last. The bytes never change and stay valid until Done; they must not be modified.
	Next() []byte
}

// ReadyOwner gets a Ready back.
type ReadyOwner interface {
	// Done ends the exchange. sent counts the bytes of the body that were sent; complete is false when the client did not get all.
	Done(a *Ready, sent int64, complete bool)
}

// Done gives the answer back to its owner.
func (a *Ready) Done(sent int64, complete bool) {
	if a.Owner != nil {
		a.Owner.Done(a, sent, complete)
	}
}

// Block is a field section of which the encoded form is kept for each protocol, made when it is first asked for.
type Block interface {
	// Encoded returns what encode appends for the section's fields, as kept from an earlier call for the protocol where there was one.
	// So encode must always append the same for the same fields, and something that is valid anywhere on any connection of the protocol:
	// no dynamic table, no connection's own settings. The result must not be modified.
	Encoded(p Protocol, encode func(dst []byte, f Fields) []byte) []byte
}

// Refusal is a request that a front end answered, or ended, by itself, because no handler may see it.
type Refusal struct {
	Protocol Protocol
	ConnInfo
	// Status is what the client got; 0 when the stream or connection was ended without an answer.
	Status int
	// Reason is a short fixed phrase, such as "two lengths": one of the front end's Reasons.
	Reason string
	// What is known of the request; "" where it is not.
	Method, Authority, Target string
}

// Refuser is a Handler that counts and logs what never reached it.
type Refuser interface {
	Refused(x Refusal)
}
