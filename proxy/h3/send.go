package h3

import (
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

// fail ends an exchange whose request can't be served.
func (x *exchange) fail(err error) {
	var f *fault
	var e *assemble.Error
	s := x.conn.server
	switch {
	case errors.As(err, &f) && f.conn:
		x.conn.fail(f)
		return
	case errors.As(err, &f):
		x.refused(f.status, f.reason)
		s.count(f.kind)
		x.refuse(f)
		if f == errIncomplete {
			x.conn.wasted()
		}
	case errors.As(err, &e) && e.Malformed():
		x.refused(0, e.Reason)
		s.count(kindMessage)
		x.cancel(codeMessage)
		x.conn.wasted()
	case errors.As(err, &e):
		x.refused(e.Status, e.Reason)
		s.count(kindUnanswerable)
		x.answer(e.Status)
	default: // the client has gone, or has reset the stream
		x.cancel(codeRequestCancelled)
		if byClient(err) {
			x.conn.wasted()
		}
	}
}

func (x *exchange) refused(status int, reason string) {
	s := x.conn.server
	if s.refuser == nil {
		return
	}
	method, authority, target := x.asm.Known()
	s.refuser.Refused(message.Refusal{Protocol: message.HTTP3, ConnInfo: x.conn.info, Status: status, Reason: reason,
		Method: method, Authority: authority, Target: target})
}

// refuse ends the stream for f, with an answer where it has a status.
func (x *exchange) refuse(f *fault) {
	if f.status != 0 {
		x.answer(f.status)
		return
	}
	x.cancel(f.code)
}

// answer sends a response of our own, and asks the client to stop.
func (x *exchange) answer(status int) {
	out, at := beginHeaders(x.out[:0])
	out = qpack.AppendStatus(out, status)
	out = qpack.AppendField(out, "date", time.Now().UTC().Format(httpTime))
	out = qpack.AppendField(out, "content-length", "0")
	x.out = endHeaders(out, at)
	_, _ = x.send(x.out)
	x.close()
	x.stopReading()
}

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT" // RFC 9110 §5.6.7

// cancel ends both directions with an error.
func (x *exchange) cancel(code uint64) {
	x.str.CancelRead(quic.StreamErrorCode(code))
	if !x.closed {
		x.abort(code)
	}
}

// abort ends the sending side so that the client sees the response as incomplete.
func (x *exchange) abort(code uint64) {
	x.reset = true
	x.str.CancelWrite(quic.StreamErrorCode(code))
}

// close ends the sending side.
func (x *exchange) close() {
	if !x.reset && !x.closed {
		x.closed = true
		_ = x.str.Close()
	}
}

// stopReading asks the client to stop sending what nobody reads any more (RFC 9114 §4.1).
func (x *exchange) stopReading() {
	if !x.r.eof {
		x.str.CancelRead(codeNoError)
	}
}

// send writes p. It waits for the client as long as the pace allows. After an error the response is incomplete for good.
func (x *exchange) send(p []byte) (int, error) {
	n, err := x.write(p)
	x.broken = x.broken || err != nil
	return n, err
}

func (x *exchange) write(p []byte) (int, error) {
	if x.moved+int64(len(p)) <= alwaysTaken {
		n, err := x.str.Write(p)
		x.moved += int64(n)
		return n, err
	}
	x.worker.handOver()
	pace := x.conn.server.cfg.Pace
	now := time.Now()
	for n := 0; ; {
		if until := pace.Deadline(now, x.waited, x.moved); !until.IsZero() {
			_ = x.str.SetWriteDeadline(until)
		}
		k, err := x.str.Write(p[n:])
		then := now
		now = time.Now()
		x.waited += now.Sub(then)
		x.moved += int64(k)
		n += k
		switch {
		case err == nil:
			return n, nil
		case !isTimeout(err):
			return n, err
		case k == 0 || !pace.Deadline(now, x.waited, x.moved).After(now):
			x.conn.server.count(errResponseTimeout.kind)
			x.cancel(errResponseTimeout.code)
			return n, errResponseTimeout
		}
	}
}
