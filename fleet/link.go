package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// maxErrorText bounds what is shown of an error.
const maxErrorText = 128

// dialer connects to an address.
type dialer func(ctx context.Context, address netip.AddrPort) (net.Conn, error)

// dialFrom connects from that address wherever it is of the family of the other end: the kernel might choose another of this machine's
// addresses, and to an anycast one the answer would not come back here.
func dialFrom(own netip.Addr) dialer {
	return func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		if own.IsValid() && own.Is4() == address.Addr().Is4() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
		}
		return d.DialContext(ctx, "tcp", address.String())
	}
}

// link is the connection on which one address is asked, kept from one question to the next. It follows no redirect and knows no proxy,
// and reads no more of an answer than the longest has. Its owner is one goroutine; the zero value with its first fields set is ready.
type link struct {
	// immutable
	address netip.AddrPort
	dial    dialer
	timeout time.Duration

	conn    net.Conn
	limited *io.LimitedReader
	reader  *bufio.Reader
}

// reply is an answer that came whole.
type reply struct {
	body []byte
	mac  string
	rtt  time.Duration
}

// ask puts a question and waits for its answer, at most timeout after a connection is there. After an error the connection is closed,
// so that the next question finds another way if there is one.
func (l *link) ask(ctx context.Context, q question, mac string) (reply, error) {
	if l.conn != nil {
		r, err := l.exchange(ctx, q, mac)
		if err == nil || outcomeOf(err) != OutcomeLost || ctx.Err() != nil {
			return r, err
		}
		// The other end has closed what was not in use, as it may at any time.
	}
	if err := l.connect(ctx); err != nil {
		return reply{}, err
	}
	return l.exchange(ctx, q, mac)
}

func (l *link) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	conn, err := l.dial(ctx, l.address)
	if err != nil {
		return &Error{OutcomeNoConnection, err}
	}
	l.conn = conn
	l.limited = &io.LimitedReader{R: conn}
	l.reader = bufio.NewReader(l.limited)
	return nil
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// exchange is one question on the connection that is there.
func (l *link) exchange(ctx context.Context, q question, mac string) (_ reply, err error) {
	reusable := false
	defer func() {
		if !reusable {
			l.close()
		}
	}()
	start := time.Now()
	conn := l.conn
	conn.SetDeadline(start.Add(l.timeout))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer func() { reusable = stop() && reusable }() // a deadline in the past is not for the next question
	l.limited.N = maxBody + 2*maxFields

	if _, err := io.WriteString(l.conn, q.request(l.address, mac)); err != nil {
		return reply{}, l.failure(err)
	}
	resp, err := http.ReadResponse(l.reader, &http.Request{Method: http.MethodGet})
	if err != nil {
		return reply{}, l.failure(err)
	}
	// The body is not closed, since that would read it to its end. It holds nothing but the connection.
	if resp.StatusCode != http.StatusOK {
		return reply{}, &Error{OutcomeRefused, refusedWith(resp.StatusCode)}
	}
	macs := resp.Header[fieldMAC]
	if len(macs) != 1 {
		return reply{}, &Error{OutcomeNotAuthentic, errors.New("there must be one " + fieldMAC)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case len(body) > maxBody:
		return reply{}, &Error{OutcomeTooLarge, fmt.Errorf("more than %d bytes", maxBody)}
	case err != nil:
		return reply{}, l.failure(err)
	}
	reusable = !resp.Close && l.reader.Buffered() == 0
	return reply{body: body, mac: macs[0], rtt: time.Since(start)}, nil
}

// request is the question's bytes. All that is put in is letters, digits and the address.
func (q question) request(to netip.AddrPort, mac string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + to.String() + "\r\n" + fieldNonce + ": " + q.nonce + "\r\n" +
		fieldAsker + ": " + q.asker + "\r\n" + fieldMAC + ": " + mac + "\r\n\r\n"
}

func refusedWith(status int) error {
	if status == http.StatusForbidden {
		return errors.New("status 403; does it have the same secret?")
	}
	return fmt.Errorf("status %d", status)
}

// failure says what an error of the connection means.
func (l *link) failure(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{OutcomeTimeout, fmt.Errorf("no answer within %s", l.timeout)}
	case l.limited.N <= 0:
		return &Error{OutcomeTooLarge, fmt.Errorf("more than %d bytes", maxBody)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, new(*net.OpError)), errors.Is(err, io.ErrClosedPipe):
		return &Error{OutcomeLost, err}
	}
	return &Error{OutcomeMalformed, errors.New(asText(err.Error(), maxErrorText))} // it may quote what was received
}

func outcomeOf(err error) Outcome {
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return OutcomeMalformed
}
