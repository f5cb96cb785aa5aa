package h3

import (
	"context"
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// stream is a request stream: a *quic.Stream, or one in memory.
type stream interface {
	io.ReadWriteCloser
	CancelRead(code quic.StreamErrorCode)  // STOP_SENDING
	CancelWrite(code quic.StreamErrorCode) // RESET_STREAM
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	SetPriority(urgency int8, incremental bool)
	Context() context.Context // ends with our sending side
}

var _ stream = (*quic.Stream)(nil)

// alwaysTaken is how much a new stream takes without a wait: quic-go keeps so much for the packet to come (one of its packet buffers).
const alwaysTaken = 1452
