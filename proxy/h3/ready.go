package h3

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"
	"unsafe"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
)

// gather is how much of a response is put together before it is written: beyond that writing twice costs less than copying.
const gather = 16 << 10

// sendReady sends a complete answer, and gives it back, also when its owner panics.
func (x *exchange) sendReady(a *message.Ready) {
	sent, complete := int64(0), false
	defer func() { a.Done(sent, complete) }()
	var err error
	if sent, err = x.writeReady(a); err == nil {
		complete = true
		x.close()
		return
	}
	x.abort(codeInternal)
	if byClient(err) {
		x.conn.wasted()
	}
	if x.conn.ctx.Err() != nil {
		a.Err = context.Cause(x.conn.ctx)
	}
}

var errPieces = errors.New("the pieces are not as long as the body")

func (x *exchange) writeReady(a *message.Ready) (sent int64, err error) {
	out := x.appendHeader(x.out[:0], a.Status, a.Block, a.Fields, a.ContentLength)
	if a.Body == nil || a.BodyLength == 0 {
		x.out = out
		_, err := x.send(out)
		return 0, err
	}
	out = appendVarint(append(out, frameData), uint64(a.BodyLength))
	head := len(out)
	left := a.BodyLength
	var rest []byte
	for left > 0 && len(rest) == 0 {
		p := a.Body.Next()
		if p == nil || int64(len(p)) > left {
			return 0, errPieces
		}
		k := min(len(p), max(gather-len(out), 0))
		out = append(out, p[:k]...)
		left -= int64(len(p))
		rest = p[k:]
	}
	x.out = out
	n, err := x.send(out)
	sent = int64(max(n-head, 0))
	for err == nil {
		if len(rest) > 0 {
			n, err = x.send(rest)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		if left == 0 {
			break
		}
		if rest = a.Body.Next(); rest == nil || int64(len(rest)) > left {
			return sent, errPieces
		}
		left -= int64(len(rest))
	}
	return sent, err
}

// appendHeader appends the HEADERS frame of a final response. length is what to declare, -1 for nothing.
func (x *exchange) appendHeader(out []byte, status int, block message.Block, fields message.Fields, length int64) []byte {
	out, at := beginHeaders(out)
	out = qpack.AppendStatus(out, status)
	if block != nil {
		out = append(out, block.Encoded(message.HTTP3, encodeBlock)...)
	}
	alt := x.req.AltSvc
	for i := range fields {
		if f := &fields[i]; sendable(f) && !(alt != "" && f.Name == "alt-svc") {
			out = qpack.AppendField(out, f.Name, f.Value)
		}
	}
	if length >= 0 && status != 204 { // RFC 9110 §8.6
		var digits [20]byte
		out = qpack.AppendField(out, "content-length", borrow(strconv.AppendInt(digits[:0], length, 10)))
	}
	if alt != "" {
		out = qpack.AppendField(out, "alt-svc", alt)
	}
	return endHeaders(out, at)
}

// encodeBlock appends the lines of a stored header section. An origin's alt-svc speaks of other sockets than ours.
func encodeBlock(dst []byte, fields message.Fields) []byte {
	for i := range fields {
		if f := &fields[i]; f.Name != "alt-svc" && sendable(f) {
			dst = qpack.AppendField(dst, f.Name, f.Value)
		}
	}
	return dst
}

// appendFields appends the lines of an interim response or a trailer section.
func appendFields(dst []byte, fields message.Fields) []byte {
	for i := range fields {
		if f := &fields[i]; sendable(f) {
			dst = qpack.AppendField(dst, f.Name, f.Value)
		}
	}
	return dst
}

// sendable keeps out what would break the message: connection-specific fields (RFC 9114 §4.2), what is told another way, and bytes that
// no field may hold.
func sendable(f *message.Field) bool {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "host", "content-length":
		return false
	}
	return message.IsLowerToken(f.Name) && message.IsFieldValue(f.Value)
}

func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
