package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CheckCrowd is [Model.Check] for exchanges at the same time. What came of another client's request may answer one that waited for it only
// if it could have been stored, and then reused for that one: a response to a single user has one reader (RFC 9111 §3, §4).
func (m *Model) CheckCrowd(xs []*Exchange) error {
	var all []Forward
	for _, x := range xs {
		all = append(all, x.Forwards...)
	}
	for i, x := range xs {
		err := m.Check(x)
		if err == nil {
			continue
		}
		shared := m.fromOthers(x, xs)
		if shared == nil || m.afterOthers(x, xs) == nil {
			continue
		}
		if failed := (&Exchange{Request: x.Request, At: x.At, Answered: x.Answered, Forwards: all, Answer: x.Answer}); m.anyFailed(all) && m.afterAnyFailure(failed) == nil {
			continue
		}
		return fmt.Errorf("client %d of a crowd of %d: %w\n    - %w", i, len(xs), err, shared)
	}
	return nil
}

// afterOthers checks x as if the others had been there before it, as some may have been.
func (m *Model) afterOthers(x *Exchange, xs []*Exchange) error {
	later := *m
	later.held = nil
	for _, h := range m.held {
		own := *h
		later.held = append(later.held, &own)
	}
	later.LearnCrowd(slices.DeleteFunc(slices.Clone(xs), func(o *Exchange) bool { return o == x }))
	return later.Check(x)
}

func (m *Model) anyFailed(all []Forward) bool {
	return slices.ContainsFunc(all, func(f Forward) bool { return f.Response == nil || failure(f.Response.Status) })
}

// afterAnyFailure: whoever waited for a fetch that failed is told so, or gets what is stale.
func (m *Model) afterAnyFailure(x *Exchange) error {
	for _, f := range x.Forwards {
		one := *x
		one.Forwards = []Forward{f}
		if m.afterFailure(&one) == nil {
			return nil
		}
	}
	return errors.New("after a failure: not so")
}

// fromOthers: what another client's request brought answers this one too.
func (m *Model) fromOthers(x *Exchange, xs []*Exchange) error {
	var not []string
	for _, other := range xs {
		for i := range other.Forwards {
			f := &other.Forwards[i]
			if other == x || f.Response == nil {
				continue
			}
			for _, h := range m.brought(other, f) {
				why := m.mayShare(x, h)
				if why == "" {
					return nil
				}
				not = append(not, fmt.Sprintf("serial %s: %s", serial(h.response.Fields), why))
			}
		}
	}
	return fmt.Errorf("brought by another client's request: %s", strings.Join(not, "; "))
}

// brought is what a forward of another client's made: its response, or what its 304 confirmed.
func (m *Model) brought(other *Exchange, f *Forward) []*held {
	if f.Response.Status != 304 {
		return []*held{{request: other.Request, response: f.Response}}
	}
	var out []*held
	for _, h := range m.confirmed(other.Request, f) {
		out = append(out, m.freshen(other.Request, f, h))
	}
	return out
}

// mayShare says why h, which another client's request brought, may not be what x got, or "".
func (m *Model) mayShare(x *Exchange, h *held) string {
	asGet := *h.request
	asGet.Method = "GET"
	complete := *h.response
	complete.Cut = false // it may be shared as it arrives, and ends for all alike
	if why, _ := m.storable(&asGet, &complete); why != "" {
		return why
	}
	if may, _ := selects(h.request, x.Request, h.response); !may {
		return "RFC 9111 §4.1: another variant"
	}
	if requestSays(x.Request.Fields).noStore.said {
		return "RFC 9111 §5.2.1.5: the request says no-store"
	}
	// A request for validation, and one that has waited, is as well answered by what came after it.
	waited := *x.Request
	waited.Fields = only(waited.Fields, false)
	if why := m.use(h, &waited, h.response.Received); why != "" {
		return why
	}
	if err := m.renders(x, h.response, false); err != nil {
		return err.Error()
	}
	for _, name := range responseSays(h.response.Fields, m.Policy).hidden {
		if len(Lines(x.Answer.Fields, name)) > 0 {
			return "has field " + name + ", which is not for others"
		}
	}
	return ""
}

// LearnCrowd is [Model.Learn] for exchanges at the same time.
func (m *Model) LearnCrowd(xs []*Exchange) {
	if len(xs) > 0 && m.purges(xs[0]) {
		m.Learn(xs[0])
		return
	}
	var single []*Exchange
	for _, x := range xs {
		for _, f := range x.Forwards {
			if f.Response != nil {
				one := *x
				one.Forwards = []Forward{f}
				single = append(single, &one)
			}
		}
	}
	slices.SortStableFunc(single, func(a, b *Exchange) int {
		return a.Forwards[0].Response.Received.Compare(b.Forwards[0].Response.Received)
	})
	for _, x := range single {
		m.Learn(x)
		if len(single) > 1 { // in which order they are stored is open
			for _, h := range m.held {
				h.sure = h.sure && m.url(h.request.Target) != m.url(x.Request.Target)
			}
		}
	}
}
