package cache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// NoteHints is that of a fill which begins now.
func (h harness) NoteHints(key Key, r *message.Request, resp *Response, p *Policy) {
	h.begun(key).NoteHints(r, resp, p)
}

// begun is a fill that nobody can join.
func (h harness) begun(key Key) *Fill {
	hash := key.hash(h.seed)
	s := h.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.newFill(s, key, hash)
}

const style = "</a.css>; rel=preload; as=style"

func TestWhichLinksAreRemembered(t *testing.T) {
	html := func(lines ...string) []string {
		return append([]string{"Content-Type: text/html; charset=utf-8"}, lines...)
	}
	for _, tt := range []struct {
		why     string
		request []string
		status  int
		lines   []string
		want    []string
	}{
		{"a page's", nil, 200, html("Link: " + style), []string{style}},
		{"of what is not stored too", nil, 200, html("Link: "+style, "Cache-Control: no-cache"), []string{style}},
		{"several", nil, 200, html(`Link: <https://cdn.example>; rel="preconnect", </a,b.js>;rel=modulepreload;title="x, y"`, "Link:, </c>; REL=\"Preload preconnect\""),
			[]string{"<https://cdn.example>; rel=\"preconnect\"", `</a,b.js>;rel=modulepreload;title="x, y"`, "</c>; REL=\"Preload preconnect\""}},
		{"others are not", nil, 200, html("Link: </>; rel=next, </a>, </b>; rel=\"preload next\", </c>; rel=next; rel=preload, </d>;rel=prefetch", "Link: garbage", "Link: </e"), nil},
		{"up to what can't be read", nil, 200, html("Link: " + style + ", x, </b>; rel=preload"), []string{style}},
		{"no page", nil, 200, []string{"Content-Type: application/json", "Link: " + style}, nil},
		{"no success", nil, 404, html("Link: " + style), nil},
		{"private", nil, 200, html("Link: "+style, "Cache-Control: private"), nil},
		{"no-store: no part may be kept", nil, 200, html("Link: "+style, "Cache-Control: no-store"), nil},
		{"a client's no-store says nothing", []string{"Cache-Control: no-store"}, 200, html("Link: " + style), []string{"</old>; rel=preload"}},
		{"a cookie is set", nil, 200, html("Link: "+style, "Set-Cookie: a=b"), nil},
		{"but for everybody", nil, 200, html("Link: "+style, "Set-Cookie: a=b", "Cache-Control: max-age=0"), []string{style}},
		{"nor do cookies", []string{"Cookie: a=b"}, 200, html("Link: " + style), []string{"</old>; rel=preload"}},
		{"that make no difference", []string{"Cookie: a=b"}, 200, html("Link: "+style, "Cache-Control: public"), []string{style}},
		{"that do", []string{"Cookie: a=b"}, 200, html("Link: "+style, "Cache-Control: public", "Vary: Accept, Cookie"), nil},
		{"nor do credentials", []string{"Authorization: x"}, 200, html("Link: "+style, "Cache-Control: public, max-age=9"), []string{"</old>; rel=preload"}},
		{"too many", nil, 200, html("Link: " + strings.Repeat("</a>;rel=preload,", 40)), slices.Repeat([]string{"</a>;rel=preload"}, 16)},
		{"too long", nil, 200, html("Link: <"+strings.Repeat("a", 2048)+">;rel=preload", "Link: "+style), []string{style}},
	} {
		h := newHarness(t)
		before, r, resp := h.budget.used.Load(), get("/", tt.request...), answer(tt.status, tt.lines...)
		h.NoteHints(h.key(get("/")), get("/"), ptr(answer(200, "Content-Type: text/html", "Link: </old>; rel=preload")), h.policy)
		h.NoteHints(h.key(r), r, &resp, h.policy)
		if got := h.Hints(h.key(r), r).Values("link"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
		if h.Purge(h.key(r)); h.Hints(h.key(r), r) != nil || h.budget.used.Load() != before {
			t.Errorf("%s: after a purge %v, %d bytes more", tt.why, h.Hints(h.key(r), r), h.budget.used.Load()-before)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestWhatDoesNotTouchHints(t *testing.T) {
	h := newHarness(t)
	key := h.key(get("/"))
	h.NoteHints(key, get("/"), ptr(answer(200, "Content-Type: text/html", "Link: "+style)), h.policy)
	for _, resp := range []Response{answer(503), answer(304), answer(206)} {
		h.NoteHints(key, get("/"), &resp, h.policy)
	}
	h.NoteHints(key, request("HEAD", "/"), ptr(answer(200)), h.policy)
	if h.Hints(key, get("/")) == nil {
		t.Error("forgotten")
	}
	h.NoteHints(key, get("/"), ptr(answer(302)), h.policy)
	if h.Hints(key, get("/")) != nil {
		t.Error("it is elsewhere now")
	}
}

func TestHintsAreBounded(t *testing.T) {
	h := newHarness(t)
	page := answer(200, "Content-Type: text/html", "Link: "+style)
	before := h.budget.used.Load()
	for i := range maxHints + 10 {
		r := get(fmt.Sprintf("/%d", i))
		h.NoteHints(h.key(r), r, &page, h.policy)
	}
	if n, evicted := h.hints.count(), h.counters.hintsEvicted.Get(); n != maxHints || evicted != 10 {
		t.Errorf("%d keys, %d evicted", n, evicted)
	}
	if h.Hints(h.key(get("/9")), get("/9")) != nil || h.Hints(h.key(get("/10")), get("/10")) == nil {
		t.Error("the first goes first")
	}
	for i := range maxHints + 10 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if n := h.budget.used.Load() - before; n != 0 || h.hints.count() != 0 {
		t.Errorf("%d bytes of %d keys are left", n, h.hints.count())
	}
}

func TestAPurgeForgetsTheHintsOfEveryKeyOfAURL(t *testing.T) {
	h := newHarness(t)
	h.policy.Key = KeyRules{Device: true}
	page := answer(200, "Content-Type: text/html", "Link: "+style)
	for _, r := range []*message.Request{get("/"), get("/", "User-Agent: Mobile")} {
		h.NoteHints(h.key(r), r, &page, h.policy)
	}
	if h.Purge(h.key(get("/"))); h.hints.count() != 0 {
		t.Errorf("%d are left", h.hints.count())
	}
}

// TestPurgesForgetHints: whatever a purge names, and whether the answer came before it or only began before it.
func TestPurgesForgetHints(t *testing.T) {
	page := answer(200, "Content-Type: text/html", "Surrogate-Key: t", "Link: "+style)
	softly := map[string]func(h harness){
		"soft":          func(h harness) { h.PurgeTag(epoch, "", "t", true) },
		"unsafe method": func(h harness) { h.Cache.Purge(h.key(get("/a"))) },
	}
	maps.Copy(softly, purges)
	for by, purge := range softly {
		for _, rules := range []KeyRules{{}, {Device: true}} {
			h := newHarness(t)
			h.policy.Key = rules
			r, empty := get("/a"), h.budget.used.Load()
			h.NoteHints(h.key(r), r, &page, h.policy)
			h.PurgeTag(epoch, "", "other", false)
			h.Cache.Purge(h.key(get("/b")))
			if h.Hints(h.key(r), r) == nil {
				t.Errorf("%s: forgotten too early", by)
			}
			purge(h)
			if h.Hints(h.key(r), r) != nil {
				t.Errorf("%s: they are still sent", by)
			}
			f := h.begun(h.key(r))
			purge(h)
			if f.NoteHints(r, &page, h.policy); h.Hints(h.key(r), r) != nil {
				t.Errorf("%s: what was asked for before the purge is hinted at", by)
			}
			h.NoteHints(h.key(r), r, &page, h.policy)
			purge(h)
			h.sweep(t.Context())
			if n := h.budget.used.Load() - empty; n != 0 || h.hints.count() != 0 || len(h.hints.kin) != 0 {
				t.Errorf("%s: %d bytes and %d keys are left by the sweep", by, n, h.hints.count())
			}
		}
	}
}

// TestHintsAreOfOneVariant: what one client's page needs may be of no use to another's.
func TestHintsAreOfOneVariant(t *testing.T) {
	h := newHarness(t)
	de, en := get("/", "Accept-Language: de", "Accept-Encoding: gzip"), get("/", "Accept-Language: en")
	h.NoteHints(h.key(de), de, ptr(answer(200, "Content-Type: text/html", "Link: "+style, "Vary: Accept-Language, Accept-Encoding")), h.policy)
	if h.Hints(h.key(en), en) != nil {
		t.Error("another variant's")
	}
	if h.Hints(h.key(de), get("/", "Accept-Language: de", "Accept-Encoding: br")) == nil {
		t.Error("a coding makes no difference to links")
	}
}

// TestKinOfHints: the lists of kin hold exactly what is there, whatever comes and goes.
func TestKinOfHints(t *testing.T) {
	h := newHarness(t)
	h.policy.Key = KeyRules{Headers: []string{"x-a"}}
	rnd := rand.New(rand.NewPCG(1, 1))
	page := answer(200, "Content-Type: text/html", "Link: "+style)
	for range 3000 {
		r := get(fmt.Sprint("/", rnd.IntN(3)), fmt.Sprint("X-A: ", rnd.IntN(6)))
		switch rnd.IntN(8) {
		case 0:
			h.Cache.Purge(h.key(r))
		case 1, 2:
			h.forgetHints(h.key(r))
		default:
			h.NoteHints(h.key(r), r, &page, h.policy)
		}
		listed := 0
		for url, i := range h.hints.kin {
			for at, newer := i+1, 0; at > 0; at, newer = h.hints.slots[at-1].older, at {
				x := &h.hints.slots[at-1]
				if listed++; x.key.url() != url || x.newer != newer || h.hints.byKey[x.key] != at-1 {
					t.Fatalf("%v in the list of %v", x.key, url)
				}
			}
		}
		if listed != h.hints.count() {
			t.Fatalf("%d of %d are listed", listed, h.hints.count())
		}
	}
}

func TestHintsBut(t *testing.T) {
	sent := fields("Link: </a>; rel=preload", "Link: </b>; rel=preload")
	for in, want := range map[string]string{
		"</a>; rel=preload":                            "",
		"</a>; rel=preload, </b>; rel=preload":         "",
		"</c>; rel=preload,  </b>; rel=preload ":       "</c>; rel=preload",
		"</a>; rel=preload; as=x":                      "</a>; rel=preload; as=x",
		"</a>; rel=preload, what is this, </b>; rel=x": "what is this, </b>; rel=x",
	} {
		if got := strings.TrimSpace(HintsBut(fields("Link: "+in), sent).Get("link")); strings.TrimLeft(got, ", ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := HintsBut(fields("X: y", "Link: </a>; rel=preload"), sent); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{style, "", "<>", "<a>;rel", `<a>;rel="preload`, `<a>;rel="pre\"load",<b>;rel=preload`, ",,<a>;;rel=preload;x=\"a,b\"", "<a>;rel=preload <b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, n := message.Fields{{Name: "link", Value: s}}, 0
		safeLinks(in, func(link string) {
			if n += len(link); !strings.Contains(s, link) || link[0] != '<' {
				t.Fatalf("%q is not in %q", link, s)
			}
		})
		if n > len(s) {
			t.Fatalf("%d bytes of links in %q", n, s)
		}
		if got := hintsOf(in); got != nil && len(HintsBut(in, nil)) != 1 {
			t.Fatal("nothing was sent, and something is left out")
		}
		HintsBut(in, hintsOf(in))
	})
}
