package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// Inspected is what this edge has stored for a request. Its JSON form is an interface.
type Inspected struct {
	Edge    string `json:"edge"`
	Service string `json:"service"`
	*cache.Inspection
}

// Inspect says what is stored for a request: what the answer to a client's would come from now. lines are the request's fields, as "Name: value". The
// error says what is wrong with the question.
func (p *Proxy) Inspect(method, url string, lines []string) (any, error) {
	if p.cache == nil {
		return nil, errors.New("there is no cache")
	}
	r, err := Question(method, url, lines, time.Now())
	if err != nil {
		return nil, err
	}
	x, past, err := p.questioned(r)
	if err != nil {
		return nil, err
	}
	out := &Inspected{Edge: p.opts.Edge, Service: x.service.name}
	key := x.service.keyOf(r)
	out.Inspection = p.cache.Inspect(time.Now(), key, r, x.service.policy)
	if past != cache.ReasonNone {
		out.Lookup = cache.VerdictOf(cache.Bypass.String(), past)
	}
	return out, nil
}

// questioned takes a question as far as lookup would. past is why it does not come as far as the cache.
func (p *Proxy) questioned(r *message.Request) (x *exchange, past cache.Reason, err error) {
	if e := p.admissible(r); e != nil {
		return nil, past, e
	}
	x = &exchange{r: r}
	if err := p.route(x); err != nil {
		return nil, past, err
	}
	x.withoutDevice()
	if r.Body != nil || changesMeaning(r.Fields) {
		past = cache.ReasonMethod
	}
	return x, past, nil
}

// Question makes the request that somebody asks about, received now. lines are its fields, as "Name: value".
func Question(method, rawURL string, lines []string, now time.Time) (*message.Request, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%q is not a URL with http:// or https:// and a host", rawURL)
	}
	target, err := message.ParseTarget(u.RequestURI())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", rawURL, err)
	}
	if !message.IsToken(method) {
		return nil, fmt.Errorf("%q is not a method", method)
	}
	r := &message.Request{Protocol: message.HTTP1, Method: method, Scheme: u.Scheme, Authority: strings.ToLower(u.Host), Target: target,
		Client: netip.AddrPortFrom(netip.IPv6Loopback(), 0), Received: now}
	if r.Fields, err = ParseFields(lines); err != nil {
		return nil, err
	}
	if r.Fields.Has("host") {
		return nil, errors.New("the host is the URL's")
	}
	return r, nil
}

// ParseFields reads lines such as "Name: value".
func ParseFields(lines []string) (message.Fields, error) {
	var f message.Fields
	for _, l := range lines {
		name, value, found := strings.Cut(l, ":")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		if !found || !message.IsLowerToken(name) || !message.IsFieldValue(value) {
			return nil, fmt.Errorf("%q is not a field: write Name: value", l)
		}
		f.Add(name, value)
	}
	return f, nil
}
