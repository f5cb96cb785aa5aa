package proxy

import (
	"context"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// Explained is what [Proxy.Explain] found out.
type Explained struct {
	Service string `json:"service"`
	Origin  string `json:"origin,omitempty"` // the URL of the one that answered; "" when none was asked
	Status  int    `json:"status"`           // 0 when there is no answer to explain
	*cache.Explanation
}

// Explain says what becomes of a request and its answer, and of a like request so long after it. With a nil head the nearest origin is asked, as by a
// miss; nothing is stored. None is asked about a method that is not for the cache, which may do something there. It fails when the request does not
// go as far as a service's cache, or no origin answers.
func (p *Proxy) Explain(ctx context.Context, r *message.Request, head *cache.Response, cfg cache.Config, after time.Duration) (*Explained, error) {
	x, past, err := p.questioned(r)
	if err != nil {
		return nil, err
	}
	x.ctx = ctx
	out := &Explained{Service: x.service.name}
	q := cache.Question{Service: x.service.name, Request: r, Policy: x.service.policy, Config: cfg, After: after, Past: past}
	switch {
	case r.Method != "GET" && r.Method != "HEAD":
		q.Past = cache.ReasonMethod
	case head == nil:
		asked, err := p.ask(x)
		if err != nil {
			return nil, err
		}
		head, out.Origin = asked, x.origin.id.Name
	default:
		given := *head
		given.Fields = asShared(given.Fields, p.via(message.HTTP1))
		head = &given
	}
	if head != nil {
		q.Response, out.Status = *head, head.Status
	}
	out.Explanation = cache.Explain(&q)
	return out, nil
}

// ask sends the request as a miss does, and returns the head of what is answered.
func (p *Proxy) ask(x *exchange) (*cache.Response, error) {
	requested := time.Now()
	res, err := p.forward(x.ctx, x, wholeFields(x.r.Fields, nil), func(int, message.Fields) {})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	head := p.headOf(res, requested)
	return &head, nil
}
