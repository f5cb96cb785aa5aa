package nethttp

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"nearcast/proxy/message"
)

var (
	errAuthority = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "malformed authority"}
	errHost      = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "host and authority differ"}
	errForm      = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "malformed request target"}
	errConnect   = &message.Error{Blame: message.BlameClient, Status: http.StatusNotImplemented, Reason: "method CONNECT"}
)

// request turns what net/http parsed into the version-independent form. Errors carry the status to answer.
func request(hr *http.Request, rc *http.ResponseController, o *Options) (*message.Request, error) {
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
		return nil, errConnect
	}
	var err error
	if r.Authority, err = authority(hr); err != nil {
		return nil, err
	}
	raw, err := originForm(hr)
	if err != nil {
		return nil, err
	}
	if r.Target, err = message.ParseTarget(raw); err != nil {
		return nil, err
	}
	if r.Target.Path == "*" && hr.Method != http.MethodOptions { // RFC 9112 §3.2.4
		return nil, errForm
	}
	r.Fields = fields(hr.Header)
	r.ContentLength = hr.ContentLength
	if hr.Body != nil && hr.Body != http.NoBody && hr.ContentLength != 0 {
		r.Body = &body{r: hr.Body, rc: rc, stall: o.Stall}
		r.Trailers = func() message.Fields { return fields(hr.Trailer) }
		settleContent(r)
	}
	if r.Body != nil && r.ContentLength < 0 && (hr.Method == http.MethodGet || hr.Method == http.MethodHead) {
		return r, settleBody(r)
	}
	return r, nil
}

// settleBody finds out whether a request of unknown length has a body at all, when its method makes that unlikely: over HTTP/3 only the
// end of the stream tells, which almost always comes with the header section. A GET with content passes by the cache.
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

// fields turns a header map into a field list: lower-case names in alphabetical order, each one's lines in the order received.
// It leaves out connection-specific fields; "te: trailers" stays, for gRPC needs it end to end.
func fields(h http.Header) message.Fields {
	if len(h) == 0 {
		return nil
	}
	names := make([]string, 0, len(h))
	lines := 0
	for name, values := range h {
		names = append(names, name)
		lines += len(values)
	}
	slices.Sort(names)
	named := connectionOptions(h["Connection"])
	f := make(message.Fields, 0, lines)
	for _, canonical := range names {
		name := strings.ToLower(canonical)
		if hopByHop(name) && !(name == "te" && trailersOnly(h[canonical])) || slices.Contains(named, name) {
			continue
		}
		for _, v := range h[canonical] {
			f = append(f, message.Field{Name: name, Value: v})
		}
	}
	return f
}

func trailersOnly(te []string) bool {
	return len(te) == 1 && strings.EqualFold(te[0], "trailers")
}

// connectionOptions returns the field names that Connection lists, in lower case.
func connectionOptions(values []string) []string {
	var names []string
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			names = append(names, strings.ToLower(strings.Trim(name, " \t")))
		}
	}
	return names
}

// body reads a request body and gives up when the client stalls.
type body struct {
	r        io.Reader
	rc       *http.ResponseController
	stall    time.Duration
	deadline time.Time
	ended    bool // by EOF or an error
}

func (b *body) Read(p []byte) (int, error) {
	pushDeadline(&b.deadline, b.stall, b.rc.SetReadDeadline)
	n, err := b.r.Read(p)
	b.ended = b.ended || err != nil
	if err != nil && b.stall > 0 {
		// net/http goes on reading after the body, to see the client leave: the deadline must not make it see that.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	if err != nil && err != io.EOF {
		err = &message.Error{Blame: message.BlameClient, Status: http.StatusBadRequest, Reason: "request body", Err: err}
	}
	return n, err
}
