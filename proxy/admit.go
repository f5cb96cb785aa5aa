package proxy

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"nearcast/health"
	"nearcast/proxy/message"
)

// maxLoops is how many nearcast edges a request may have passed: an edge may send to another, never round in a circle.
const maxLoops = 3

// allowed are the methods that this edge passes on; those it does not know it passes on too.
const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// admit refuses what must not go further, and answers the edge's own probe.
func (p *Proxy) admit(x *exchange) (done bool, err error) {
	r := x.r
	if r.Target.Path == health.SelfPath {
		if token := r.Fields.Get(health.SelfField); p.isSelf(token) {
			x.selfProbe = true
			return true, p.writeHeader(x, 200, message.Fields{{Name: health.SelfField, Value: health.SelfReply(token)}}, 0)
		}
	}
	if e := p.admissible(r); e != nil {
		return false, e
	}
	if r.RedirectPort != 0 {
		return true, p.redirect(x)
	}
	if r.Method == "OPTIONS" && r.Fields.Get("max-forwards") == "0" { // we are its last recipient (RFC 9110 §7.6.2)
		return true, p.writeHeader(x, 204, message.Fields{{Name: "allow", Value: allowed}}, 0)
	}
	if r.Body != nil {
		x.body = &requestBody{r: r.Body, left: p.opts.MaxBody}
	}
	return false, nil
}

var (
	errHost    = clientError(400, "missing or malformed host")
	errRefused = clientError(405, "method not allowed")
	errMethod  = clientError(400, "malformed method")
	errTarget  = clientError(400, "malformed request target")
	errBody    = clientError(413, "request body too large")
	errLoop    = clientError(508, "request loop")
)

// admissible says why the request must not go further, nil when it may. It puts the authority into its one form.
func (p *Proxy) admissible(r *message.Request) *message.Error {
	authority, ok := canonicalAuthority(r.Scheme, r.Authority)
	switch {
	case !ok:
		return errHost
	case r.Method == "CONNECT", r.Method == "TRACE":
		return errRefused
	case !message.IsToken(r.Method):
		return errMethod
	case r.Target.Path == "*" && r.Method != "OPTIONS":
		return errTarget
	case r.ContentLength > p.opts.MaxBody:
		return errBody
	case p.loops(r.Fields):
		return errLoop
	}
	r.Authority = authority
	return nil
}

func (p *Proxy) isSelf(token string) bool {
	return p.opts.SelfToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(p.opts.SelfToken)) == 1
}

// loops reports whether the request has been here, or at too many edges (RFC 8586).
func (p *Proxy) loops(f message.Fields) bool {
	n := 0
	for i := range f {
		if f[i].Name != "cdn-loop" {
			continue
		}
		for info := range strings.SplitSeq(f[i].Value, ",") {
			id, params, _ := strings.Cut(info, ";")
			if strings.TrimSpace(id) != cdnID {
				continue
			}
			if n++; n > maxLoops || strings.TrimSpace(params) == "edge="+p.opts.Edge {
				return true
			}
		}
	}
	return false
}

func clientError(status int, reason string) *message.Error {
	return &message.Error{Blame: message.BlameClient, Status: status, Reason: reason}
}

// requestBody enforces the limit on a body of unknown length, and remembers whether it has been touched: a request whose body
// is partly gone can't be sent again.
type requestBody struct {
	r    io.Reader
	left int64
	read atomic.Bool
}

// Interrupt implements message.Interrupter.
func (b *requestBody) Interrupt() {
	if i, ok := b.r.(message.Interrupter); ok {
		i.Interrupt()
	}
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	if b.left < 0 {
		return 0, errBody
	}
	// One byte more than is allowed tells a body that is too long from one that just fits.
	if int64(len(p))-1 > b.left {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errBody
	}
	if err != nil && err != io.EOF {
		err = bodyCut(err)
	}
	return n, err
}

// bodyCut is why a request's body ended before its end: what the front end says, if it says what the client is to get.
func bodyCut(err error) *message.Error {
	var e *message.Error
	if errors.As(err, &e) && e.Status != 0 {
		return e
	}
	return &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body cut", Err: fmt.Errorf("reading the request body: %w", err)}
}
