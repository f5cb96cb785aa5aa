package proxy

import (
	"net/http"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
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
	ask := ""
	if x.result.Part != nil {
		ask = x.result.Part.Ask
	}
	return p.cache.Refused(time.Now(), x.key, x.r, ask)
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
		if strings.HasPrefix(f.Name, "if-") && (f.Name != "if-range" || f.Value != x.result.Part.IfRange) {
			return true
		}
	}
	return false
}

// servesRange reports whether a part is, or has, what the request asks for.
func servesRange(r *message.Request, o *cache.Object) bool {
	rg, status := cache.ParseRange(r, o)
	return status == http.StatusPartialContent && rg != cache.Several && o.Holds(rg)
}

// asItCame answers the client that caused a fetch with the origin's own 206, where that is of another range than was asked for, or shorter than it says.
func (p *Proxy) asItCame(x *exchange, o *cache.Object, came cache.Range, live *upstream.Response) (*answer, error) {
	a := &answer{status: http.StatusPartialContent, length: came.End - came.Start, object: o, fields: p.live(x, live)}
	var err error
	a.reader, err = o.NewReader(x.ctx, came)
	return a, err
}

// pieces are readers of what a plan puts together, in the order of its pieces; nil for what is missing.
type pieces []*cache.Reader

func (s pieces) close() {
	for _, r := range s {
		if r != nil {
			r.Close()
		}
	}
}

// hold opens what the plan has of the store, which is neither evicted nor outside of the budget until the rest has come.
func (x *exchange) hold(plan *cache.Plan) error {
	for _, piece := range plan.Pieces {
		var r *cache.Reader
		if piece.Object != nil {
			var err error
			if r, err = piece.Object.NewReader(x.ctx, piece.Range); err != nil {
				return err
			}
		}
		x.held = append(x.held, r)
	}
	return nil
}

// letGo closes what was held and is not used.
func (x *exchange) letGo() {
	x.held.close()
	x.held = nil
}

// planPieces answers with what is stored and what has come, o, put together (RFC 9111 §3.4). cache.ErrNotHeld means that they don't go together, and
// that nothing was sent.
func (p *Proxy) planPieces(x *exchange, plan *cache.Plan, o *cache.Object) (*answer, error) {
	if plan.Ask != "" && !plan.Fits(o) {
		return nil, cache.ErrNotHeld
	}
	a := p.planned(x, o, plan.Want, plan.Status)
	if x.held == nil {
		if err := x.hold(plan); err != nil {
			return nil, err
		}
	}
	for i, piece := range plan.Pieces {
		if piece.Object == nil {
			r, err := o.NewReader(x.ctx, piece.Range)
			if err != nil {
				return nil, err
			}
			x.held[i] = r
		}
	}
	a.reader, a.pieces, x.held = x.held[0], x.held[1:], nil
	return a, nil
}

// planned is an answer, without its body, with rg of the representation that an object is of.
func (p *Proxy) planned(x *exchange, o *cache.Object, rg cache.Range, status int) *answer {
	extra := []message.Field{age(o)}
	if status == http.StatusPartialContent {
		extra = append(extra, message.Field{Name: "content-range", Value: rg.ContentRange(o.Length)})
	}
	return &answer{status: status, length: rg.End - rg.Start, object: o, fields: p.stored(x, o.Fields, extra...)}
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
