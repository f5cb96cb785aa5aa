package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// smallBody is the longest request body that is sent together with the header section. It must fit into a buffer beside that.
const smallBody = 8 << 10

var (
	errMethod = errors.New("the method is no token")
	errTarget = errors.New("the target has a byte that may not be in one")
	errHost   = errors.New("the authority has a byte that may not be in one")
	errField  = errors.New("a field has a byte that may not be in one")
)

// bodyLength is the length of what is sent of a body: 0 for none, -1 when it is not known.
func (a *Attempt) bodyLength() int64 {
	if a.Body == nil || a.Request.Upgrade != "" {
		return 0
	}
	return a.Request.ContentLength
}

// appendHead appends a request's header section for HTTP/1.1. It looks at every byte again: nothing that got into a request by a fault
// elsewhere can end a line, or the section.
func appendHead(b []byte, a *Attempt, key string) ([]byte, error) {
	r := a.Request
	if !message.IsToken(r.Method) {
		return b, errMethod
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target.Path...)
	if r.Target.HasQuery {
		b = append(b, '?')
		b = append(b, r.Target.Query...)
	}
	if !visible(b[len(r.Method)+1:]) {
		return b, errTarget
	}
	b = append(b, " HTTP/1.1\r\nhost: "...)
	if !visible(r.Authority) && r.Authority != "" {
		return b, errHost
	}
	b = append(b, r.Authority...)
	b = append(b, "\r\n"...)
	var ok bool
	if b, ok = appendFields(b, a.Fields, wire.HopByHop); !ok {
		return b, errField
	}
	if key != "" {
		b = wire.AppendField(b, wsKey, key)
	}
	return appendFraming(b, a), nil
}

// appendFraming appends what says how long the body is, and what the connection is to become.
func appendFraming(b []byte, a *Attempt) []byte {
	switch n := a.bodyLength(); {
	case n < 0:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	case n > 0, a.Request.Method == "POST", a.Request.Method == "PUT", a.Request.Method == "PATCH": // RFC 9110 §8.6
		b = wire.AppendContentLength(b, n)
	}
	if a.last {
		b = append(b, "connection: close\r\n"...)
	}
	if u := a.Request.Upgrade; message.IsToken(u) {
		b = append(b, "connection: upgrade\r\nupgrade: "...)
		b = append(b, u...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendFields appends field lines, without those that skip names. ok is false when one of them may not be sent.
func appendFields(b []byte, fields message.Fields, skip func(name string) bool) (_ []byte, ok bool) {
	for i := range fields {
		f := &fields[i]
		if !message.IsLowerToken(f.Name) { // capitals would get past skip
			return b, false
		}
		if skip(f.Name) {
			continue
		}
		if !wire.Sendable(f) {
			return b, false
		}
		b = wire.AppendField(b, f.Name, f.Value)
	}
	return b, true
}

// visible reports whether s has neither controls nor white space, and is not empty.
func visible[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return len(s) > 0
}

// held reports whether a client's trailer stays behind: besides what may never be one, what this hop says of the client. Some servers merge
// trailers into the header section, and some take an underscore for a hyphen.
func held(trailer string) bool {
	if strings.IndexByte(trailer, '_') >= 0 {
		trailer = strings.ReplaceAll(trailer, "_", "-")
	}
	switch trailer {
	case "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cdn-loop":
		return true
	}
	return !wire.TrailerAllowed(trailer) || strings.HasPrefix(trailer, "x-forwarded-")
}

func unsendable(err error) *message.Error {
	return &message.Error{Blame: message.BlameEdge, Status: http.StatusInternalServerError, Reason: reasonUnsendable, Err: err}
}

// requestSendable is what appendHead looks at, for HTTP/2.
func requestSendable(a *Attempt) bool {
	for i := range a.Fields {
		if f := &a.Fields[i]; !message.IsLowerToken(f.Name) || !wire.HopByHop(f.Name) && !wire.Sendable(f) {
			return false
		}
	}
	return message.IsToken(a.Request.Method) && visible(a.Request.Target.String()) && (a.Request.Authority == "" || visible(a.Request.Authority))
}

// bodyError says that a request's body did not come as it was announced.
func bodyError(err error) *message.Error {
	var own *message.Error
	if errors.As(err, &own) {
		return own
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &message.Error{Blame: message.BlameClient, Status: 400, Reason: reasonBodyCut, Err: err}
}

// readBody reads from a request's body in a goroutine of ours: there, too, a panic of the reader ends no more than the exchange.
func readBody(body io.Reader, p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, panicked(v)
		}
	}()
	return body.Read(p)
}

// panicked is the error for a panic, made where it is recovered.
func panicked(v any) *message.Error {
	return &message.Error{Blame: message.BlameEdge, Status: http.StatusInternalServerError, Reason: reasonInternal,
		Err: fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
}
