package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// records makes one record every 10 ms from "+" for a success of edge a, "B" for one of edge b and "-" for a timeout.
func records(s string) (start time.Time, recs []Record) {
	start = time.Unix(1000, 0)
	for i, c := range s {
		r := Record{Start: start.Add(time.Duration(i) * 10 * time.Millisecond), Latency: time.Millisecond, Edge: "a"}
		switch c {
		case '-':
			r.Class, r.Edge = Timeout, ""
		case 'B':
			r.Edge = "b"
		}
		recs = append(recs, r)
	}
	return start, recs
}

func TestGap(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"":           0,
		"+":          0,
		"-":          0,
		"++++":       10, // nothing failed: the distance of two arrivals
		"++-++":      20,
		"+-+---+-++": 40,
		"---+":       30, // failed from the start
		"+---":       30, // failed to the end
		"----":       30,
	} {
		if _, recs := records(s); gap(recs) != want*time.Millisecond {
			t.Errorf("gap of %q = %v, want %d ms", s, gap(recs), want)
		}
	}
}

func TestFirstByAnother(t *testing.T) {
	start, recs := records("++B+--BB")
	r := newResult(&plan{}, start, recs, 0, nil)
	event := start.Add(30 * time.Millisecond)
	rec, ok := r.FirstByAnother("a", event)
	if !ok || rec.Start.Sub(event) != 30*time.Millisecond {
		t.Errorf("b answered first 30 ms after the event; got %v, %t", rec.Start.Sub(event), ok)
	}
	if _, ok := r.FirstByAnother("a", start.Add(time.Second)); ok {
		t.Error("nothing happened after the run")
	}
	if s := r.Since(event); s.OK != 3 || s.Failures[Timeout] != 2 || s.Gap != 30*time.Millisecond || len(s.Records) != 5 {
		t.Errorf("Since: %v", s)
	}
	if got := r.String(); !strings.Contains(got, "8 requests, 2 failed (timeout 2), 0 retried, gap 30ms, p50 1ms, p99 1ms") {
		t.Errorf("String: %s", got)
	}
}

func TestClassify(t *testing.T) {
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want Class
	}{
		{nil, OK},
		{context.DeadlineExceeded, Timeout},
		{&quic.IdleTimeoutError{}, Timeout},
		{incompleteError{context.DeadlineExceeded}, Timeout},
		{read(syscall.ECONNREFUSED), Refused},
		{read(syscall.ECONNRESET), Reset},
		{read(syscall.EPIPE), Reset},
		{handshakeError{read(syscall.ECONNRESET)}, Reset},
		{&quic.StatelessResetError{}, Reset},
		{incompleteError{read(syscall.ECONNRESET)}, Incomplete},
		{read(syscall.ENETUNREACH), Unreachable},
		{io.ErrUnexpectedEOF, Closed},
		{handshakeError{io.EOF}, Closed},
		{orderlyError{io.EOF}, Closed},
		{&quic.ApplicationError{Remote: true}, Closed},
		{handshakeError{errors.New("no common cipher")}, TLS},
		{&quic.TransportError{ErrorCode: 0x12a}, TLS},
		{fmt.Errorf("odd"), Other},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("classify(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}
