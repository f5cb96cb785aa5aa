package nethttp

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"nearcast/proxy/message"
)

var (
	errAuthority = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "malformed authority"}
	errHost      = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "host and authority differ"}
	errForm      = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "malformed request target"}
	errOver      = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "request body read too late"}
	errConnect   = &message.Error{Blame: message.BlameClient, Status: http.StatusNotImplemented, Reason: "method CONNECT"}
)

// request turns what net/http parsed into the version-independent form. Errors carry the status to answer. The body is that of the
// request, nil when it has none; its leave must be called when the handler has returned.
func request(hr *http.Request, rc *http.ResponseController, o *Options) (*message.Request, *body, error) {
	info, _ := hr.Context().Value(connKey{}).(message.ConnInfo)
	r := &message.Request{
		Protocol: o.Protocol,
		Method:   hr.Method,
		Scheme:   "http",
		Client:   netip.AddrPortFrom(info.Client.Addr().Unmap(), info.Client.Port()),
		Local:    netip.AddrPortFrom(info.Local.Addr().Unmap(), info.Local.Port()),
		TLS:      info.TLS,
		Received: time.Now(),
	}
	if r.TLS != nil {
		r.Scheme = "https"
	}
	if hr.Method == http.MethodConnect {
		return nil, nil, errConnect
	}
	var err error
	if r.Authority, err = authority(hr); err != nil {
		return nil, nil, err
	}
	raw, err := originForm(hr)
	if err != nil {
		return nil, nil, err
	}
	if r.Target, err = message.ParseTarget(raw); err != nil {
		return nil, nil, err
	}
	if r.Target.Path == "*" && hr.Method != http.MethodOptions { // RFC 9112 §3.2.4
		return nil, nil, errForm
	}
	r.Fields = fields(hr.Header)
	r.ContentLength = hr.ContentLength
	var sent *body
	if hr.Body != nil && hr.Body != http.NoBody && hr.ContentLength != 0 {
		sent = &body{r: hr.Body, rc: rc, stall: o.Stall}
		r.Body = sent
		r.Trailers = func() message.Fields { return fields(hr.Trailer) }
	}
	if o.Protocol == message.HTTP3 && r.Body != nil && r.ContentLength < 0 && (hr.Method == http.MethodGet || hr.Method == http.MethodHead) {
		return r, sent, settleBody(r)
	}
	return r, sent, nil
}

// settleBody finds out whether an HTTP/3 request of unknown length has a body at all, when its method makes that unlikely: only the
// end of the stream tells, and net/http's form of the request has a body in any case. The end almost always comes with the header
// section. It matters because a GET with content passes by the cache.
func settleBody(r *message.Request) error {
	var first [1]byte
	switch n, err := io.ReadFull(r.Body, first[:]); {
	case n > 0:
		r.Body = io.MultiReader(bytes.NewReader(first[:]), r.Body)
	case err == io.EOF:
		r.Body, r.ContentLength, r.Trailers = nil, 0, nil
	default:
		return err
	}
	return nil
}

// authority returns the host and port that the request is for, in lower case.
func authority(hr *http.Request) (string, error) {
	// net/http takes Host out of the fields; the HTTP/2 and HTTP/3 servers leave one that came beside :authority,
	// and it must not differ (RFC 9113 §8.3.1, RFC 9114 §4.3.1).
	for _, v := range hr.Header["Host"] {
		if !strings.EqualFold(v, hr.Host) {
			return "", errHost
		}
	}
	if !httpguts.ValidHostHeader(hr.Host) || strings.ContainsAny(hr.Host, "/?#@\\") {
		return "", errAuthority
	}
	return strings.ToLower(hr.Host), nil
}

// originForm cuts scheme and authority off an absolute-form target (RFC 9112 §3.2.2).
func originForm(hr *http.Request) (string, error) {
	raw := hr.RequestURI
	if raw == "*" || strings.HasPrefix(raw, "/") {
		return raw, nil
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", errForm
	}
	i := strings.IndexAny(rest, "/?#")
	switch {
	case i < 0:
		return "/", nil
	case rest[i] == '/':
		return rest[i:], nil
	}
	return "/" + rest[i:], nil
}

// hopByHop says which names never leave the connection they came on (RFC 9110 §7.6.1), or are told another way
// in a message.Request and message.ResponseWriter: host, the body's length, and what Expect asks for.
func hopByHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer",
		"host", "content-length", "expect", "http2-settings":
		return true
	}
	return false
}

// fields are those of a client's message: without connection-specific ones, but with "te: trailers", which gRPC needs end to end.
func fields(h http.Header) message.Fields {
	return Fields(h, func(name string, values []string) bool {
		return hopByHop(name) && !(name == "te" && trailersOnly(values))
	})
}

func trailersOnly(te []string) bool {
	return len(te) == 1 && strings.EqualFold(te[0], "trailers")
}

// body reads a request body and gives up when the client stalls. Whoever reads it may still be at it when the handler has returned, as
// the transport is whose origin answered early: from then on it must leave the deadlines alone, which are the next request's, and the
// controller, which HTTP/2 takes apart.
type body struct {
	r     io.Reader
	stall time.Duration

	mu       sync.Mutex
	rc       *http.ResponseController // nil once the handler has returned
	deadline time.Time
	ended    bool // read to its end
}

func (b *body) Read(p []byte) (int, error) {
	if !b.before() {
		return 0, errOver
	}
	n, err := b.r.Read(p)
	if err != nil {
		b.after(err == io.EOF)
	}
	if err != nil && err != io.EOF {
		err = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "request body", Err: err}
	}
	return n, err
}

// before gives the next read its time. It returns false when the exchange is over.
func (b *body) before() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rc == nil {
		return false
	}
	pushDeadline(&b.deadline, b.stall, b.rc.SetReadDeadline)
	return true
}

// after notes that the last read brought the end, or an error.
func (b *body) after(ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = b.ended || ended
	if b.rc != nil && b.stall > 0 {
		// net/http goes on reading after the body, to see the client leave: the deadline must not make it see that.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// unread reports whether there is something left to read. A nil body is none.
func (b *body) unread() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended
}

// leave ends the body's hold on the connection. It reports whether the client may still have something of it to send. A nil body is none.
func (b *body) leave() (left bool) {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rc = nil
	return !b.ended
}
