package cache

import (
	"slices"
	"strings"
	"sync"

	"nearcast/proxy/message"
)

const (
	maxHints     = 4096 // keys whose links are remembered; the one that was noted first makes room
	maxHintLinks = 16   // links of one key
	maxHintBytes = 2048 // of their values
	// hintOverhead is what the links of one key take in the budget besides their strings.
	hintOverhead = 256
)

// hints are the links of the last full answers, for 103 (RFC 8297).
type hints struct {
	mu    sync.Mutex
	byKey map[Key]int // the place in slots
	slots []hint      // a ring
	next  int         // the slot that is written next
	// kin finds, by the key of a URL, the first of the keys that rules tell apart: an unsafe request to it must not have to look through them all.
	kin map[Key]int
}

type hint struct {
	key   Key
	sel   []selector     // of the answer; codings apart, which make no difference to links
	links message.Fields // immutable; nil: an empty slot
	cost  int64
	purgeable
	// older and newer are the neighbours in a list of kin, each a place plus one.
	older, newer int
}

// Hints are the links to send with 103 while the client of r waits for an answer under the key; nil when there are none, when they are of another
// variant, or purged. They must not be modified.
func (c *Cache) Hints(key Key, r *message.Request) message.Fields {
	h, freed := &c.hints, int64(0)
	defer func() { c.budget.release(freed) }()
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.byKey[key]
	if !ok {
		return nil
	}
	if freed = c.settleHint(i); freed > 0 || !matches(h.slots[i].sel, r) {
		return nil
	}
	c.counters.hintsSent.Inc()
	return h.slots[i].links
}

// settleHint compares links with the purges there are, a soft one too: what the page needs may be something else now. It returns what is free
// without them. The hints are locked.
func (c *Cache) settleHint(i int) (freed int64) {
	x := &c.hints.slots[i]
	v, upTo := c.purges.judge(&x.key, &x.tags, x.began)
	if v.untouched() {
		x.began = upTo
		return 0
	}
	return c.hints.remove(i)
}

// sweepHints forgets what purges concern. Its time is bounded by maxHints.
func (c *Cache) sweepHints() {
	h, freed := &c.hints, int64(0)
	h.mu.Lock()
	for i := range h.slots {
		if h.slots[i].links != nil {
			freed += c.settleHint(i)
		}
	}
	h.mu.Unlock()
	c.budget.release(freed)
}

// NoteHints remembers the preload, modulepreload and preconnect links of the fill's full answer in place of the key's earlier ones, at most 16 and
// 2 KiB of them. Only answers that are for everybody count, stored or not: not those that must not be stored, not those that set a cookie without
// public or a lifetime, not those that vary by cookies. An error of the origin's changes nothing, nor does an answer that may be one client's for
// what the request had: Authorization, no-store, or cookies without public or a lifetime. Links that are purged by then are forgotten.
func (f *Fill) NoteHints(r *message.Request, resp *Response, p *Policy) {
	c := f.c
	if resp.Status >= 500 || resp.Status == 304 || resp.Status == 206 || resp.Status == 425 {
		return
	}
	s := newStoring(r, resp, p)
	if s.personal() {
		return
	}
	var links message.Fields
	if resp.Status < 300 && isHTML(resp.Fields) && s.refused(forbidding) == ReasonNone && !s.personalised() {
		links = hintsOf(resp.Fields)
	}
	if links == nil {
		c.forgetHints(f.key)
		return
	}
	x := hint{key: f.key, links: links, sel: slices.DeleteFunc(selectorsOf(resp.Fields, r), func(s selector) bool { return s.name == "accept-encoding" })}
	x.began = f.began
	x.tags, _ = p.tags(resp.Fields)
	x.cost = int64(hintOverhead + f.key.size() + stringBytes(links) + lineOverhead*(len(links)+len(x.sel)) + x.tags.size())
	for _, s := range x.sel {
		x.cost += int64(len(s.name) + len(s.value))
	}
	if !c.reserve(x.cost) {
		return
	}
	c.budget.release(c.hints.put(x, c.counters))
	shard := c.shard(f.hash)
	shard.mu.RLock()
	purged := shard.purgedSince(f) // what came later has found the links
	shard.mu.RUnlock()
	if purged {
		c.forgetHints(f.key)
	}
}

// personal reports whether what the request had may have made the answer one client's.
func (s *storing) personal() bool {
	d := requestDirectives(s.r)
	return s.r.Method != "GET" || d.has(flagNoStore) || s.r.Fields.Has("authorization") || s.r.Fields.Has("cookie") && !s.shared()
}

// personalised reports whether the answer says so itself.
func (s *storing) personalised() bool {
	f := s.resp.Fields
	return varyNames(f, "cookie") || varyNames(f, "authorization") || f.Has("set-cookie") && !s.shared()
}

// shared reports whether the origin says that the answer is for everybody, or for how long.
func (s *storing) shared() bool { return s.from.explicit() || s.has(flagPublic) }

func isHTML(f message.Fields) bool {
	kind, _, _ := strings.Cut(f.Get("content-type"), ";")
	return strings.EqualFold(trimOWS(kind), "text/html")
}

// hintsOf are the links of a response that may be hinted at, in memory of their own; nil when there are none.
func hintsOf(f message.Fields) message.Fields {
	var links message.Fields
	n := 0
	safeLinks(f, func(link string) {
		if len(links) < maxHintLinks && n+len(link) <= maxHintBytes {
			n += len(link)
			links.Add("link", link)
		}
	})
	if links == nil {
		return nil
	}
	return compact(links)
}

// put enters what is already charged, and returns what it replaces had been charged.
func (h *hints) put(x hint, m *counters) (freed int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byKey == nil {
		h.byKey, h.kin = make(map[Key]int), make(map[Key]int)
	}
	i, known := h.byKey[x.key]
	switch {
	case known:
		freed = h.remove(i)
	case len(h.slots) < maxHints:
		i = len(h.slots)
		h.slots = append(h.slots, hint{})
	default:
		i, h.next = h.next, (h.next+1)%maxHints
		if h.slots[i].links != nil {
			freed = h.remove(i)
			m.hintsEvicted.Inc()
		}
	}
	h.slots[i], h.byKey[x.key] = x, i
	if x.key.selected {
		h.link(i)
	}
	return freed
}

// link puts a slot first in the list of its kin.
func (h *hints) link(i int) {
	url := h.slots[i].key.url()
	if next, ok := h.kin[url]; ok {
		h.slots[i].older, h.slots[next].newer = next+1, i+1
	}
	h.kin[url] = i
}

// unlink takes it out.
func (h *hints) unlink(i int) {
	x := &h.slots[i]
	if x.older > 0 {
		h.slots[x.older-1].newer = x.newer
	}
	switch url := x.key.url(); {
	case x.newer > 0:
		h.slots[x.newer-1].older = x.older
	case x.older > 0:
		h.kin[h.slots[x.older-1].key.url()] = x.older - 1
	default:
		delete(h.kin, url)
	}
}

// forgetHints forgets the links of a key.
func (c *Cache) forgetHints(key Key) {
	h := &c.hints
	h.mu.Lock()
	freed := int64(0)
	if i, ok := h.byKey[key]; ok {
		freed = h.remove(i)
	}
	h.mu.Unlock()
	c.budget.release(freed)
}

func (h *hints) remove(i int) (freed int64) {
	x := &h.slots[i]
	if x.key.selected {
		h.unlink(i)
	}
	freed = x.cost
	delete(h.byKey, x.key)
	*x = hint{}
	return freed
}

// purgeHints forgets the links of a URL, whatever else rules tell its keys apart by.
func (c *Cache) purgeHints(url Key) {
	h, freed := &c.hints, int64(0)
	h.mu.Lock()
	if i, ok := h.byKey[url]; ok {
		freed = h.remove(i)
	}
	for i, ok := h.kin[url]; ok; i, ok = h.kin[url] {
		freed += h.remove(i)
	}
	h.mu.Unlock()
	c.budget.release(freed)
}

// count is the number of keys whose links are remembered.
func (h *hints) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byKey)
}

// HintsBut are the fields of a 103 without those links that have been sent already; nil when nothing is left to say.
func HintsBut(f, sent message.Fields) message.Fields {
	if len(sent) == 0 {
		return f
	}
	var out message.Fields
	for _, x := range f {
		if x.Name != "link" {
			out = append(out, x)
			continue
		}
		for rest := x.Value; rest != ""; {
			link, _, next, ok := cutLink(rest)
			if !ok {
				out.Add("link", rest) // not ours to read
				break
			}
			if rest = next; !hasLink(sent, link) {
				out.Add("link", link)
			}
		}
	}
	return out
}

func hasLink(f message.Fields, link string) bool {
	for i := range f {
		if f[i].Value == link {
			return true
		}
	}
	return false
}
