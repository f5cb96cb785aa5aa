package cache

import (
	"errors"
	"io"
	"testing"
)

// breakOff starts a response and breaks it off after some bytes; readers opened before see the error.
func (h harness) breakOff(resp Response, content string) *Object {
	h.Helper()
	r := get("/a")
	f, _ := h.Begin(resp.Received, h.key(r), r)
	w, reason := f.Respond(r, resp, h.policy)
	if w == nil {
		h.Fatal(reason)
	}
	rd, err := w.Object().NewReader(h.Context(), Whole)
	if err != nil {
		h.Fatal(err)
	}
	defer rd.Close()
	if _, err := w.Write([]byte(content)); err != nil {
		h.Fatal(err)
	}
	cut := errors.New("cut")
	w.Abort(cut)
	if b, err := io.ReadAll(rd); string(b) != content || err != cut {
		h.Errorf("a reader of the whole gets %d bytes and %v", len(b), err)
	}
	return w.Object()
}

// RFC 9111 §3.3: an incomplete response is stored as one.
func TestRFC9111_3_3_ABrokenBodyIsStoredAsItsBeginning(t *testing.T) {
	h := newHarness(t)
	empty := h.budget.used.Load()
	content := string(make([]byte, 70_000))
	resp := answer(200, "Cache-Control: max-age=60", `ETag: "a"`, "Content-Type: text/plain", "Content-Digest: x=:AA:", "Surrogate-Key: k")
	resp.Length = 100_000
	h.policy.Compress.SetDefaults()
	h.policy.Compress.Enabled = true
	whole := h.breakOff(resp, content)
	var p Pieces
	if whole.Pin(&p, Whole) {
		t.Error("the body that broke off was pinned as the whole")
	}
	if _, err := whole.NewReader(t.Context(), Whole); err != nil {
		t.Error(err) // it reads what there is, and ends with the error
	}
	parts := h.extentsOf(get("/a"))
	if len(parts) != 1 {
		t.Fatalf("%d parts", len(parts))
	}
	o := parts[0].obj
	if o.Length != 100_000 || o.part.Range != (Range{0, 70_000}) || o.Status != 206 || o.Fields.Has("content-digest") || o.Fields.Get("content-type") != "text/plain" {
		t.Errorf("%d, %v of %d, %v", o.Status, o.part, o.Length, o.Fields)
	}
	if o.Pin(&p, Range{5, 70_000}) {
		p.Close()
	} else {
		t.Error("the part can't be pinned")
	}
	if got := h.body(o, Range{10, 70_000}); got != content[10:] {
		t.Errorf("%d bytes", len(got))
	}
	if res := h.look(0, get("/a")); res.State != Part || res.Part.Ask != "bytes=70000-" || res.Part.IfRange != `"a"` {
		t.Errorf("%v %+v", res.State, res.Part)
	}
	h.PurgeURL(epoch, h.key(get("/a")), false)
	h.look(0, get("/a"))
	h.StopCoding()
	whole.body.mu.Lock()
	readers := whole.body.readers // the one of above
	whole.body.mu.Unlock()
	if used := h.budget.used.Load(); readers != 1 || used == empty {
		t.Errorf("%d readers hold %d bytes", readers, used-empty)
	}
	(&Reader{body: whole.body}).Close()
	if used := h.budget.used.Load(); used != empty {
		t.Errorf("%d bytes are left in use", used-empty)
	}
}

func TestWhatOfABrokenBodyIsNotStored(t *testing.T) {
	content := string(make([]byte, 70_000))
	for why, tt := range map[string]struct {
		length int64
		lines  []string
	}{
		"an unknown length":                  {-1, []string{"Cache-Control: max-age=60", `ETag: "a"`}},
		"a weak validator":                   {100_000, []string{"Cache-Control: max-age=60", `ETag: W/"a"`}},
		"a date that is no strong validator": {100_000, []string{"Cache-Control: max-age=60", "Last-Modified: " + formatDate(epoch), "Date: " + formatDate(epoch)}},
		"to be validated before every use":   {100_000, []string{"Cache-Control: no-cache", `ETag: "a"`}},
	} {
		h := newHarness(t)
		empty := h.budget.used.Load()
		resp := answer(200, tt.lines...)
		resp.Length = tt.length
		h.breakOff(resp, content)
		if used := h.budget.used.Load(); used != empty || h.objects.Load() != 0 {
			t.Errorf("%s: %d objects, %d bytes in use", why, h.objects.Load(), used-empty)
		}
	}
}
