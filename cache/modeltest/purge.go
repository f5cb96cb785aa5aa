package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Purge takes a purge at that time into account. Call it before [Model.Learn] of what came after it, and after that of what came before it or
// at the same time: a response that was asked for before is as old as what is stored.
func (m *Model) Purge(p Purge, at time.Time) {
	kept := []*held{}
	for _, h := range m.held {
		switch before := !h.response.Sent.After(at); {
		case !m.concerns(p, h):
			if p.Kind == "tag" && h.response.updated { // whether a 304 takes tags away is open
				h.sure = false
			}
		case !before:
			h.sure = h.sure && h.response.Began.After(at)
		case !p.Soft || p.Kind == "post":
			continue
		case h.softened.IsZero():
			h.softened = at
		}
		kept = append(kept, h)
	}
	m.held = kept
	if (!p.Soft || p.Kind == "post") && p.Kind != "tag" { // links have no tags
		m.linked = slices.DeleteFunc(m.linked, func(h *held) bool { return m.concerns(p, h) && !h.response.Sent.After(at) })
	}
}

// concerns says whether a purge is of h.
func (m *Model) concerns(p Purge, h *held) bool {
	url := m.url(h.request.Target)
	switch p.Kind {
	case "url", "post":
		return url == m.url(p.Target)
	case "prefix":
		return strings.HasPrefix(url, p.Target)
	case "tag":
		return slices.ContainsFunc(tagsOf(h.response), func(t string) bool { return strings.EqualFold(t, p.Target) })
	}
	return true
}

// tagsOf are the tags of a response.
func tagsOf(resp *Response) (tags []string) {
	for _, line := range Lines(resp.Fields, "surrogate-key") {
		tags = append(tags, strings.Fields(line)...)
	}
	for _, line := range Lines(resp.Fields, "cache-tag") {
		for _, t := range strings.Split(line, ",") {
			tags = append(tags, strings.Trim(t, " \t"))
		}
	}
	return tags
}

// staleness is how long h has been stale; by the time it states itself it would be by own.
func (h *held) staleness(own time.Duration, now time.Time) time.Duration {
	if h.softened.IsZero() {
		return own
	}
	return max(own, now.Sub(h.softened))
}

// Restart takes into account that the edge began anew: what is stored may be lost, and nothing that is gone may come back.
func (m *Model) Restart() {
	for _, h := range m.held {
		h.sure = false
	}
	m.linked = nil
}

// purges says whether the exchange is a purge, and not the origin's affair.
func (m *Model) purges(x *Exchange) bool { return m.Policy.PurgeMethod && x.Request.Method == "PURGE" }

// purgeOf is what a PURGE asks for; not ok when it is not clear.
func purgeOf(r *Request) (p Purge, ok bool) {
	soft, _ := One(r.Fields, "purge-soft")
	p.Soft = soft == "1"
	if tag, tagged := One(r.Fields, "surrogate-key"); tagged {
		p.Kind, p.Target = "tag", tag
		return p, r.Target == "/"
	}
	p.Kind, p.Target = "url", r.Target
	if prefix, cut := strings.CutSuffix(r.Target, "*"); cut {
		p.Kind, p.Target = "prefix", prefix
	}
	return p, true
}

func (m *Model) checkPurge(x *Exchange) error {
	want := 200
	if _, ok := purgeOf(x.Request); !ok {
		want = 400
	}
	if len(x.Forwards) > 0 || x.Answer.Status != want && !x.Left {
		return fmt.Errorf("PURGE: status %d, not %d, and forwarded %d times", x.Answer.Status, want, len(x.Forwards))
	}
	return nil
}

// link notes that a page has links that may be hinted at.
func (m *Model) link(r *Request, f *Forward) {
	resp := f.Response
	if f.Request.Method == "GET" && resp.Status/100 == 2 && len(Lines(resp.Fields, "link")) > 0 {
		m.linked = append(m.linked, &held{request: r, response: resp})
	}
}

// checkInformed: RFC 8297.
func (m *Model) checkInformed(x *Exchange) error {
	known := slices.ContainsFunc(m.linked, func(h *held) bool { return m.key(h.request) == m.key(x.Request) })
	for _, status := range x.Answer.Informed {
		if status != 103 || !m.Policy.EarlyHints || x.Request.Method != "GET" || len(Lines(x.Request.Fields, "authorization")) > 0 || !known && !x.Crowded {
			return fmt.Errorf("an informational response %d", status)
		}
	}
	if len(x.Answer.Informed) > 1 {
		return errors.New("hinted twice")
	}
	return nil
}
