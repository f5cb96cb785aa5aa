package evil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	holdTime = 90 // seconds; a session here lasts far less
	// observe is how long the other end gets to react to a case before the next one.
	observe = 50 * time.Millisecond
)

// Outcome is what became of one case.
type Outcome struct {
	Case   string
	Closed error // why the session ended on it, nil when it stayed up
}

// Run accepts sessions from the edge on l and sends it the cases, those for one kind of session in one session for as long as it
// lasts. It ends when all have been sent, with an Outcome for each, or with ctx. It closes l.
func Run(ctx context.Context, l net.Listener, id Identity, cases []Case) ([]Outcome, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	var outcomes []Outcome
	for _, twoByte := range []bool{false, true} {
		id.TwoByte = twoByte
		var rest []Case
		for _, c := range cases {
			if c.TwoByte == twoByte {
				rest = append(rest, c)
			}
		}
		for len(rest) > 0 {
			done, err := session(ctx, l, id, rest)
			if ctx.Err() != nil {
				return outcomes, fmt.Errorf("%d cases unsent: %w", len(rest)-len(done), context.Cause(ctx))
			}
			if err != nil {
				return outcomes, err
			}
			outcomes, rest = append(outcomes, done...), rest[len(done):]
		}
	}
	return outcomes, nil
}

// session accepts one session and sends cases until it ends. Connections that never become a session are passed over: a speaker may
// open two at once and drop one.
func session(ctx context.Context, l net.Listener, id Identity, cases []Case) ([]Outcome, error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil, fmt.Errorf("waiting for the edge: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		outcomes := []Outcome(nil)
		if err = Establish(conn, id, holdTime); err == nil {
			outcomes = send(conn, cases)
		}
		stop()
		_ = conn.Close()
		if len(outcomes) > 0 || ctx.Err() != nil {
			return outcomes, ctx.Err()
		}
	}
}

// send sends cases until the session ends on one.
func send(conn net.Conn, cases []Case) []Outcome {
	var outcomes []Outcome
	for _, c := range cases {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err := conn.Write(c.Message)
		if err == nil {
			_, err = conn.Write(Keepalive())
		}
		// Even after a failed write, what the other end said before it closed is the better reason.
		if closed := watch(conn); closed != nil {
			err = closed
		}
		outcomes = append(outcomes, Outcome{c.Name, err})
		if err != nil {
			break
		}
	}
	return outcomes
}

// watch reads until the session ends, or for a moment, and returns why it ended.
func watch(conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(observe))
	for {
		kind, body, err := Read(conn)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case err != nil:
			return fmt.Errorf("the connection ended: %w", err)
		case kind == TypeNotification && len(body) >= 2:
			return &Notification{body[0], body[1]}
		}
	}
}
