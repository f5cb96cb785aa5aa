package cache

import (
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
}

type hint struct {
	key   Key
	links message.Fields // immutable; nil: an empty slot
	cost  int64
}

// Hints are the links to send with 103 while the client waits for an answer under the key; nil when there are none. They must not be modified.
func (c *Cache) Hints(key Key) message.Fields {
	h := &c.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.byKey[key]
	if !ok {
		return nil
	}
	c.counters.hintsSent.Inc()
	return h.slots[i].links
}

// NoteHints remembers the preload, modulepreload and preconnect links of a full answer in place of the key's earlier ones, at most 16 and 2 KiB of
// them. Only answers that are for everybody count, stored or not: not those that must not be stored, not those that set a cookie without public or
// a lifetime, not those that vary by cookies. An error of the origin's changes nothing, nor does an answer that may be one client's for what the
// request had: Authorization, no-store, or cookies without public or a lifetime.
func (c *Cache) NoteHints(key Key, r *message.Request, resp *Response, p *Policy) {
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
		c.forgetHints(key)
		return
	}
	key = key.clone()
	cost := int64(hintOverhead + key.size() + stringBytes(links) + lineOverhead*len(links))
	if c.reserve(cost) {
		c.budget.release(c.hints.put(hint{key, links, cost}, c.counters))
	}
}

// personal reports whether what the request had may have made the answer one client's.
func (s *storing) personal() bool {
	d := requestDirectives(s.r)
	return s.r.Method != "GET" || d.has(flagNoStore) || s.r.Fields.Has("authorization") || s.r.Fields.Has("cookie") && !s.shared()
}

// personalised reports whether the answer says so itself.
func (s *storing) personalised() bool {
	for _, f := range s.resp.Fields {
		if f.Name == "vary" {
			if list := strings.ToLower(f.Value); listHas(list, "cookie") || listHas(list, "authorization") {
				return true
			}
		}
	}
	return s.resp.Fields.Has("set-cookie") && !s.shared()
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
	if i, ok := h.byKey[x.key]; ok {
		freed = h.slots[i].cost
		h.slots[i] = x
		return freed
	}
	if h.byKey == nil {
		h.byKey = make(map[Key]int)
	}
	if len(h.slots) < maxHints {
		h.byKey[x.key] = len(h.slots)
		h.slots = append(h.slots, x)
		return 0
	}
	if old := &h.slots[h.next]; old.links != nil {
		freed = old.cost
		delete(h.byKey, old.key)
		m.hintsEvicted.Inc()
	}
	h.slots[h.next], h.byKey[x.key] = x, h.next
	h.next = (h.next + 1) % maxHints
	return freed
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
	freed = h.slots[i].cost
	delete(h.byKey, h.slots[i].key)
	h.slots[i] = hint{}
	return freed
}

// purgeHints forgets the links of a URL, whatever else rules tell its keys apart by.
func (c *Cache) purgeHints(url Key) {
	c.forgetHints(url)
	if !c.kinned.Load() {
		return
	}
	h := &c.hints
	h.mu.Lock()
	freed := int64(0)
	for i := range h.slots {
		if h.slots[i].links != nil && h.slots[i].key.url() == url {
			freed += h.remove(i)
		}
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
