package proxy

import (
	"net/http"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// A part of a response is fetched as the whole is, by fill, lead and fetch: the functions here are what differs.

// begin makes or joins the fetch of what the exchange is without. asked is the request as the policy has it judged.
func (p *Proxy) begin(x *exchange, asked *message.Request) (*cache.Fill, bool) {
	if x.result.Part != nil {
		return p.cache.BeginPart(time.Now(), x.key, asked, x.result.Part.Ask)
	}
	return p.cache.Begin(time.Now(), x.key, asked)
}

// refused reports whether what comes will hardly be shared.
func (p *Proxy) refused(x *exchange) bool {
	if x.result.Part != nil {
		return p.cache.RefusedPart(time.Now(), x.key, x.r)
	}
	return p.cache.Refused(time.Now(), x.key, x.r)
}

// decide gives the fill the origin's header section.
func (p *Proxy) decide(x *exchange, f *cache.Fill, head cache.Response) (*cache.Writer, cache.Reason) {
	if x.result.Part != nil {
		return f.RespondPart(x.r, head, x.result.Part.Have(), x.service.policy)
	}
	w, reason := f.Respond(x.r, head, x.service.policy)
	if reason == cache.ReasonTooLarge && x.service.policy.Slice > 0 {
		f.NoteLarge(x.r, head, x.service.policy)
	}
	return w, reason
}

// needsMore reports whether an answer that nobody shares is not the client's either: it is about what the fetch asked for, and the client
// asked for more, or on conditions that the fetch went without.
func (x *exchange) needsMore(status int) bool {
	if x.result.Part == nil || status != http.StatusPartialContent && status != http.StatusRequestedRangeNotSatisfiable {
		return false
	}
	if len(x.result.Part.Pieces) > 0 {
		return true
	}
	for _, f := range x.r.Fields {
		if strings.HasPrefix(f.Name, "if-") {
			return true
		}
	}
	return false
}

// planPieces answers with what is stored and what has come, o, put together (RFC 9111 §3.4). cache.ErrNotHeld means that they don't go together, and
// that nothing was sent.
func (p *Proxy) planPieces(x *exchange, plan *cache.Plan, o *cache.Object) (*answer, error) {
	if plan.Ask != "" && !plan.Fits(o) {
		return nil, cache.ErrNotHeld
	}
	a := &answer{status: plan.Status, length: plan.Want.End - plan.Want.Start, object: o}
	extra := []message.Field{age(o)}
	if a.status == http.StatusPartialContent {
		extra = append(extra, message.Field{Name: "content-range", Value: plan.Want.ContentRange(o.Length)})
	}
	a.fields = p.stored(x, o.Fields, extra...)
	for _, piece := range plan.Pieces {
		from := piece.Object
		if from == nil {
			from = o
		}
		r, err := from.NewReader(x.ctx, piece.Range)
		if err != nil {
			a.closePieces()
			return nil, err
		}
		a.pieces = append(a.pieces, r)
	}
	a.reader, a.pieces = a.pieces[0], a.pieces[1:]
	return a, nil
}

func (a *answer) closePieces() {
	for _, r := range a.pieces {
		r.Close()
	}
}

// copyPieces is copyObject for an answer of pieces.
func (p *Proxy) copyPieces(x *exchange, a *answer) error {
	for {
		if err := p.copyObject(x, a); err != nil || len(a.pieces) == 0 {
			return err
		}
		a.reader.Close()
		a.reader, a.pieces = a.pieces[0], a.pieces[1:]
	}
}
