package bgp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// failure says what kept a session from coming up or brought it down. The words are the metric's label.
type failure uint8

const (
	failTimeout failure = iota
	failRefused
	failUnreachable
	failSocket
	failReset
	failNoOpen
	failOpen
	failHoldTimer
	failNotification
	failProtocol
	failSpeaker
	failStalled
	failNone // stopped on purpose: neither counted nor warned about
)

var failureNames = [failNone]string{
	failTimeout:      "timeout",
	failRefused:      "refused",
	failUnreachable:  "unreachable",
	failSocket:       "socket",
	failReset:        "reset",
	failNoOpen:       "no open",
	failOpen:         "open rejected",
	failHoldTimer:    "hold timer expired",
	failNotification: "closed by neighbor",
	failProtocol:     "protocol error",
	failSpeaker:      "speaker",
	failStalled:      "watchdog",
}

// down is how a session ended, or why it did not begin.
type down struct {
	failure failure
	text    string // a clause that goes after "neighbor X: "
	linger  bool   // a NOTIFICATION is on its way: wait for the neighbor to close
	vague   bool   // what the other direction has to say is better
}

const (
	dialTimeout = 1500 * time.Millisecond // the second SYN goes out after 1 s; a router that is back must not wait for the third
	logEvery    = time.Minute             // at most one line per neighbor and failure
)

// dialFailure puts a failed dial into words.
func dialFailure(c *NeighborConfig, err error) *down {
	var option *socketError
	var timeout net.Error
	password := "with no password set here, look whether the router asks for one (TCP MD5)"
	if c.PasswordFile != "" {
		password = "with a password set this is what a wrong or missing password on either side looks like (TCP MD5)"
	}
	switch {
	case errors.As(err, &option):
		return &down{failure: failSocket, text: option.Error()}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &down{failure: failRefused, text: fmt.Sprintf("it refused the TCP connection to port %d; check that BGP runs there and listens on that port and address", c.Port)}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return &down{failure: failUnreachable, text: fmt.Sprintf("it can't be reached (%s); check the interface and the route to it", errnoText(err))}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &down{failure: failSocket, text: fmt.Sprintf("local_address %s is not on this machine, or has no free port", c.LocalAddress)}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &down{failure: failTimeout, text: fmt.Sprintf("no answer to the TCP connection within %s; %s; also check that the router is reachable and lists this edge as neighbor", dialTimeout, password)}
	}
	return &down{failure: failSocket, text: fmt.Sprintf("the TCP connection failed: %s", errnoText(err))}
}

// errnoText leaves out the addresses, which the line has already.
func errnoText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// readFailure puts the end of what the neighbor sends into words.
func readFailure(err error, gotOpen, established bool, local net.Addr) *down {
	var wire *wireError
	var timeout net.Error
	did := "closed"
	switch {
	case errors.As(err, &wire):
		f := failProtocol
		if wire.code == codeOpen {
			f = failOpen
		}
		return &down{failure: f, text: wire.text, linger: true}
	case errors.Is(err, syscall.ETIMEDOUT):
		return &down{failure: failHoldTimer, text: "it no longer answers: what was sent to it was never acknowledged"}
	case errors.As(err, &timeout) && timeout.Timeout():
		if gotOpen {
			return &down{failure: failNoOpen, text: fmt.Sprintf("it sent an OPEN but no KEEPALIVE within %s", handshakeTimeout)}
		}
		return &down{failure: failNoOpen, text: fmt.Sprintf("it took the TCP connection but sent no OPEN within %s", handshakeTimeout)}
	case errors.Is(err, syscall.ECONNRESET):
		did = "reset"
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return &down{failure: failReset, text: fmt.Sprintf("the connection failed: %s", errnoText(err)), vague: true}
	}
	switch {
	case established:
		return &down{failure: failReset, text: fmt.Sprintf("it %s the connection without a NOTIFICATION", did)}
	case gotOpen:
		return &down{failure: failReset, text: fmt.Sprintf("it %s the connection after the OPENs; its log should say why", did)}
	}
	return &down{failure: failReset, text: fmt.Sprintf("it %s the connection before sending an OPEN; check that it lists %s as neighbor", did, hostOf(local))}
}

func hostOf(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().String()
	}
	return a.String()
}

// complaints writes failures to the log, each kind at most once in logEvery. It is one goroutine's.
type complaints struct {
	log        *slog.Logger
	last       [failNone]time.Time
	suppressed [failNone]int
}

func (c *complaints) warn(now time.Time, name string, d *down) {
	f := d.failure
	if last := c.last[f]; !last.IsZero() && now.Sub(last) < logEvery {
		c.suppressed[f]++
		return
	}
	args := []any{"reason", failureNames[f]}
	if c.suppressed[f] > 0 {
		args = append(args, "times_since_last_line", c.suppressed[f]+1)
	}
	c.last[f], c.suppressed[f] = now, 0
	c.log.Warn("neighbor "+name+": "+d.text, args...)
}
