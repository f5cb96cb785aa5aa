package proxy

import (
	"context"
	"io"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// offer has the origin choose among the variants that are stored, when none fits the request (RFC 9111 §4.1): what it then confirms need not be
// sent again. conditions are nil when there is nothing to offer.
func (p *Proxy) offer(x *exchange) (conditions message.Fields) {
	if x.result.State != cache.Miss || x.result.Reason != cache.ReasonNoVariant {
		return nil
	}
	if tags := p.cache.Offered(x.key, x.r); tags != "" {
		conditions.Add("if-none-match", tags)
	}
	return conditions
}

// chosen is the response that a 304 stands for, after an offer: as though the origin had sent it whole. Where it names none of what is stored, the
// origin is asked again.
func (p *Proxy) chosen(ctx context.Context, x *exchange, res *upstream.Response, inform func(int, message.Fields)) (*upstream.Response, error) {
	res.Body.Close()
	if o := p.cache.Tagged(x.key, x.r, res.Fields.Get("etag")); o != nil {
		if body, err := o.NewReader(ctx, cache.Whole); err == nil {
			return &upstream.Response{Status: o.Status, Fields: o.Confirmed(res.Fields, x.service.policy), Body: storedBody{body}, ContentLength: o.Length,
				Peer: res.Peer, Protocol: res.Protocol}, nil
		}
	}
	res, err := p.forward(ctx, x, wholeFields(x.r.Fields, nil), inform)
	if err == nil {
		x.outcome.Status = res.Status
	}
	return res, err
}

// storedBody is a body from the store that is always there.
type storedBody struct{ *cache.Reader }

func (b storedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &message.Error{Blame: message.BlameEdge, Status: 502, Reason: "fetch given up", Err: err}
	}
	return n, err
}

// Buffered says that reading takes no wait.
func (storedBody) Buffered() bool { return true }
