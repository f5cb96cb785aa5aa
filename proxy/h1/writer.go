package h1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

var (
	errHeaderTwice = errors.New("the header section has been written already")
	errNoHeader    = errors.New("the header section has not been written")
	errTooLong     = errors.New("the body is longer than its declared length")
	errAborted     = errors.New("the exchange was aborted")
	errEnded       = errors.New("the trailer section has been written already")
)

func notTaken(err error) error {
	return &message.Error{Blame: message.BlameClient, Reason: errNotTaken, Err: err}
}

var crlf = []byte("\r\n")

// writer is a message.ResponseWriter. What is written is collected up to fullWrite.
type writer struct {
	x *exchange
	c *conn

	wroteHeader bool
	noBody      bool // HEAD, 204, 304: what is written goes nowhere
	chunked     bool
	last        bool // the connection ends with this response
	ended       bool // the last chunk has been written
	aborted     bool
	err         error // of a write: nothing can be sent any more
	length      int64 // declared, -1 when not
	written     int64 // of the body
	chunkAt     int   // where the header of the chunk begins that is being collected; -1: there is none
	tunnel      *tunnel
	ctx         *message.Context // the handler's

	// waited and moved are how long the client kept us waiting, and what it took.
	waited time.Duration
	moved  int64
}

// room for the header of a chunk that is being collected: four digits and CRLF.
const chunkHeader = 6

// usable returns why nothing can be written any more, nil when something can.
func (w *writer) usable() error {
	if w.aborted || w.tunnel != nil {
		return errAborted
	}
	return w.err
}

// WriteInformational implements message.ResponseWriter. HTTP/1.0 knows no 1xx (RFC 9110 §15.2), and 100 the server sends itself.
func (w *writer) WriteInformational(status int, fields message.Fields) error {
	switch err := w.usable(); {
	case err != nil:
		return err
	case w.wroteHeader:
		return errHeaderTwice
	case status < 100 || status > 199 || status == http.StatusSwitchingProtocols:
		return fmt.Errorf("%d is not an informational status that can be sent", status)
	case status == http.StatusContinue || w.x.head.Minor == 0:
		return nil
	}
	if b := w.x.body; b != nil { // whoever reads it may be sending 100
		b.want.Lock()
		defer b.want.Unlock()
	}
	o := &w.c.out
	o.grow(fieldsSize(fields) + 100)
	o.buf = wire.AppendStatusLine(o.buf, status)
	o.buf = append(wire.AppendFields(o.buf, fields), crlf...)
	return w.send()
}

// WriteHeader implements message.ResponseWriter.
func (w *writer) WriteHeader(status int, fields message.Fields, length int64) error {
	switch err := w.usable(); {
	case err != nil:
		return err
	case w.wroteHeader:
		return errHeaderTwice
	case status < 200 || status > 999:
		return fmt.Errorf("%d is not a final status", status)
	}
	x := w.x
	waiting := x.body.settle()
	w.wroteHeader = true
	w.length = max(length, -1)
	w.noBody = x.noBody(status)
	w.chunked = length < 0 && !w.noBody && x.head.Minor > 0
	endless := length < 0 && !w.noBody && !w.chunked
	w.last = w.last || !x.head.KeepAlive || endless || waiting || x.body.hopeless() || w.c.closing()
	o := &w.c.out
	o.grow(fieldsSize(fields) + len(x.req.AltSvc) + 200)
	b := wire.AppendStatusLine(o.buf, status)
	b = appendFields(b, fields, x.req.AltSvc != "")
	if w.chunked {
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	o.buf = x.appendOwn(b, status, w.length, w.last)
	return nil
}

// Write implements message.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	switch err := w.usable(); {
	case err != nil:
		return 0, err
	case !w.wroteHeader:
		return 0, errNoHeader
	case w.ended:
		return 0, errEnded
	case w.noBody || len(p) == 0:
		return len(p), nil
	case w.length >= 0 && int64(len(p)) > w.length-w.written:
		return 0, errTooLong
	}
	w.written += int64(len(p))
	if o := &w.c.out; len(o.buf)+len(p)+chunkHeader+len(crlf) <= fullWrite {
		o.grow(len(p) + chunkHeader + len(crlf))
		w.openChunk()
		o.buf = append(o.buf, p...)
		return len(p), nil
	}
	if err := w.writeLarge(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeLarge sends what is collected, and p after it without a copy where that can be.
func (w *writer) writeLarge(p []byte) error {
	w.closeChunk()
	o := &w.c.out
	if !o.vectored {
		o.grow(max(fullWrite-len(o.buf), 0)) // for full TLS records
	}
	if !w.chunked {
		return w.send(p)
	}
	o.grow(20)
	o.buf = wire.AppendChunkHeader(o.buf, len(p))
	return w.send(p, crlf)
}

// openChunk leaves room for a chunk's header.
func (w *writer) openChunk() {
	if o := &w.c.out; w.chunked && w.chunkAt < 0 {
		w.chunkAt = len(o.buf)
		o.buf = append(o.buf, "0000\r\n"...)
	}
}

// closeChunk puts the header before what was collected of a chunk.
func (w *writer) closeChunk() {
	if w.chunkAt < 0 {
		return
	}
	o := &w.c.out
	var header [chunkHeader]byte
	h := wire.AppendChunkHeader(header[:0], len(o.buf)-w.chunkAt-chunkHeader)
	data := o.buf[w.chunkAt+chunkHeader:]
	n := copy(o.buf[w.chunkAt:], h)
	n += copy(o.buf[w.chunkAt+n:], data)
	o.buf = append(o.buf[:w.chunkAt+n], crlf...)
	w.chunkAt = -1
}

// Flush implements message.ResponseWriter.
func (w *writer) Flush() error {
	switch err := w.usable(); {
	case err != nil:
		return err
	case !w.wroteHeader:
		return errNoHeader
	}
	w.closeChunk()
	return w.send()
}

// WriteTrailers implements message.ResponseWriter. A response with a declared length has no room for trailers, nor has one to HTTP/1.0;
// they are dropped there.
func (w *writer) WriteTrailers(fields message.Fields) error {
	switch err := w.usable(); {
	case err != nil:
		return err
	case !w.wroteHeader:
		return errNoHeader
	case w.ended:
		return errEnded
	}
	if w.chunked {
		w.endChunks(fields)
	}
	return nil
}

// endChunks collects the end of a chunked body.
func (w *writer) endChunks(trailers message.Fields) {
	w.closeChunk()
	o := &w.c.out
	o.grow(fieldsSize(trailers) + 10)
	o.buf = wire.AppendLastChunk(o.buf, trailers)
	w.ended = true
}

// SwitchProtocols implements message.ResponseWriter.
func (w *writer) SwitchProtocols(fields message.Fields) (message.Tunnel, error) {
	switch err := w.usable(); {
	case err != nil:
		return nil, err
	case w.wroteHeader:
		return nil, errHeaderTwice
	case w.x.req.Upgrade == "":
		return nil, errors.ErrUnsupported
	}
	o := &w.c.out
	o.grow(fieldsSize(fields) + len(w.x.req.Upgrade) + 200)
	o.buf = wire.AppendStatusLine(o.buf, http.StatusSwitchingProtocols)
	o.buf = wire.AppendFields(o.buf, fields)
	o.buf = wire.AppendField(o.buf, "connection", "Upgrade")
	o.buf = wire.AppendField(o.buf, "upgrade", w.x.req.Upgrade)
	o.buf = append(o.buf, crlf...)
	w.wroteHeader, w.last = true, true
	if err := w.send(); err != nil {
		return nil, err
	}
	if w.c.watch.end() {
		w.err = errAborted
		return nil, &message.Error{Blame: message.BlameClient, Reason: "client gone"}
	}
	w.tunnel = newTunnel(w.c, w.ctx)
	return w.tunnel, nil
}

// Abort implements message.ResponseWriter.
func (w *writer) Abort() { w.aborted = true }

// send sends what is collected and the parts.
func (w *writer) send(parts ...[]byte) error {
	o := &w.c.out
	size := len(o.buf)
	for _, p := range parts {
		size += len(p)
	}
	if size == 0 {
		return nil
	}
	if o.failed {
		w.err = notTaken(net.ErrClosed)
		return w.err
	}
	now := time.Now()
	o.setDeadline(now, w.waited, w.moved, int64(size))
	n, err := o.writeThrough(parts...)
	w.waited += time.Since(now)
	w.moved += n
	o.sent(0, err)
	if err != nil {
		w.err = notTaken(err)
	}
	return w.err
}

// finish completes the response when the handler has returned. It returns false when the connection can't go on, because the response is
// incomplete; what is collected is then as far as it got.
func (w *writer) finish(ctx context.Context) bool {
	if !w.wroteHeader && w.usable() == nil {
		if ctx.Err() != nil {
			return false
		}
		now := string(time.Now().UTC().AppendFormat(nil, http.TimeFormat))
		_ = w.WriteHeader(http.StatusInternalServerError, message.Fields{{Name: "date", Value: now}}, 0)
	}
	switch {
	case w.err != nil:
		return false
	case w.aborted, !w.noBody && w.length >= 0 && w.written < w.length:
		w.closeChunk()
		w.incomplete()
		return false
	case w.chunked && !w.ended:
		w.endChunks(nil)
	}
	return true
}

// incomplete sees to it that the client takes the response for what it is.
func (w *writer) incomplete() {
	w.c.count(errIncomplete)
	if w.wroteHeader && !w.noBody && w.length < 0 && !w.chunked {
		w.c.out.failed = true
		w.c.reset() // nothing but the end of the connection ends such a body
	}
}
