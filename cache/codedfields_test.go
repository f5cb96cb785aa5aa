package cache

import (
	"strings"
	"testing"

	"nearcast/proxy/message"
)

func TestRFC9110_8_8_3_3_EntityTagsOfForms(t *testing.T) {
	all := "Accept-Encoding: gzip, br"
	for _, tt := range []struct {
		why, tag string
		lines    []string
		made     bool // the forms have been made before
		status   int
		want     string // the tag in the answer
	}{
		{"the form's own tag", `"1"`, []string{all, `If-None-Match: "1~br"`}, true, 304, `"1~br"`},
		{"of a form that has gone", `"1"`, []string{all, `If-None-Match: "1~br"`}, false, 304, `"1~br"`},
		{"of a form that another is better than", `"1"`, []string{all, `If-None-Match: "1~gzip"`}, true, 304, `"1~gzip"`},
		{"of a form that is no longer acceptable", `"1"`, []string{"Accept-Encoding: gzip", `If-None-Match: "1~br"`}, true, 0, `"1~gzip"`},
		{"of the form without a coding", `"1"`, []string{all, `If-None-Match: "1"`}, true, 304, `"1"`},
		{"without a coding, which is not acceptable", `"1"`, []string{all + ", identity;q=0", `If-None-Match: "1"`}, true, 0, `"1~br"`},
		{"one of several", `"1"`, []string{all, `If-None-Match: "0", W/"1~br"`}, true, 304, `"1~br"`},
		{"another response's", `"1"`, []string{all, `If-None-Match: "2~br", "1~x", "1~zstd"`}, true, 0, `"1~br"`},
		{"any", `"1"`, []string{all, `If-None-Match: *`}, true, 304, `"1"`},
		{"weak tags", `W/"1"`, []string{all, `If-None-Match: W/"1~br"`}, true, 304, `W/"1~br"`},
		{"no client without codings has one", `"1"`, []string{`If-None-Match: "1~br"`}, true, 0, `"1"`},
		{"no tag", `1`, []string{all, `If-None-Match: "1~br"`}, true, 0, ``},
		{"by date", `"1"`, []string{all, "If-Modified-Since: Sun, 01 Mar 2026 12:00:00 GMT"}, true, 304, `"1~br"`},
	} {
		h := newCoding(t)
		h.store(get("/"), prosaic("ETag: "+tt.tag), prose)
		if tt.made {
			for _, accept := range []string{"gzip", "br"} {
				h.form(get("/", "Accept-Encoding: "+accept))
			}
		}
		r := get("/", tt.lines...)
		o := h.form(r)
		if status := EvaluateConditional(r, o); status != tt.status || o.Fields.Get("etag") != tt.want {
			t.Errorf("%s: %d with %s, want %d with %s", tt.why, status, o.Fields.Get("etag"), tt.status, tt.want)
		}
		f := NotModifiedFields(o)
		if !o.VaryByCoding() && f.Get("vary") != "accept-encoding" || f.Has("content-encoding") {
			t.Errorf("%s: a 304 with %v", tt.why, f)
		}
	}
}

// TestAFormOfWhatIsStillArriving is a client that comes back after the edge has forgotten everything.
func TestAFormOfWhatIsStillArriving(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	r := get("/", "Accept-Encoding: gzip, br", `If-None-Match: "1~br"`)
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, prosaic(`ETag: "1"`), h.policy)
	if o := w.Object().Form(r); EvaluateConditional(r, o) != 304 || o.Fields.Get("etag") != `"1~br"` {
		t.Errorf("validated by %v", o.Fields)
	}
	for _, tag := range []string{`"2~br"`, `"1"`} {
		r = get("/", "Accept-Encoding: gzip, br", "If-None-Match: "+tag)
		if o := w.Object().Form(r); o != w.Object() {
			t.Errorf("%s: %v", tag, o.Fields)
		}
	}
	if w.Abort(nil); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

func TestRFC9110_13_1_5_IfRangeAndForms(t *testing.T) {
	modified := "Sun, 01 Mar 2026 11:00:00 GMT"
	for _, tt := range []struct {
		why, ifRange, accept string
		status               int
	}{
		{"the tag without a coding", `"1"`, "br", 206},
		{"a form's tag: no part of it is ever sent", `"1~br"`, "br", 200},
		{"a date does not tell the forms apart", modified, "br", 200},
		{"to whom no form is sent, it does", modified, "", 206},
		{"no condition", "", "br", 206},
	} {
		h := newCoding(t)
		h.store(get("/"), prosaic(`ETag: "1"`, "Last-Modified: "+modified), prose)
		lines := []string{"Range: bytes=1-2"}
		if tt.accept != "" {
			lines = append(lines, "Accept-Encoding: "+tt.accept)
		}
		if tt.ifRange != "" {
			lines = append(lines, "If-Range: "+tt.ifRange)
		}
		h.form(get("/", "Accept-Encoding: br"))
		r := get("/", lines...)
		o := h.form(r)
		if _, status := ParseRange(r, o); status != tt.status || o.Fields.Has("content-encoding") {
			t.Errorf("%s: %d, %v", tt.why, status, o.Fields)
		}
	}
	h := newCoding(t)
	h.store(get("/"), prosaic(), prose)
	r := get("/", "Range: bytes=1-2", "Accept-Encoding: br, identity;q=0")
	h.form(r)
	if o := h.form(r); o.Fields.Get("content-encoding") != "br" {
		t.Error("a coding is asked for at any price")
	} else if _, status := ParseRange(r, o); status != 200 {
		t.Error("a part of a form")
	}
}

func TestOriginTags(t *testing.T) {
	for _, tt := range []struct{ method, name, value, want string }{
		{"PUT", "if-match", `"1~br"`, `"1"`},
		{"PUT", "if-match", `"1", "2~gzip",W/"3~zstd"`, `"1", "2", W/"3"`},
		{"PUT", "if-match", `"1~x", "~", "2~deflate", "3~BR", *`, `"1~x", "~", "2~deflate", "3~BR", *`},
		{"PUT", "if-match", `"1~br`, `"1~br`},
		{"PUT", "if-match", `*`, `*`},
		{"PUT", "if-none-match", `"1~br"`, `"1"`},
		{"GET", "if-match", `"a~b~br"`, `"a~b"`},
		{"GET", "if-none-match", `"1~br"`, `"1~br"`},
		{"GET", "if-range", `"1~br"`, `"1~br"`},
	} {
		r := request(tt.method, "/", "Accept: x", tt.name+": "+tt.value)
		if got := OriginFields(r, r.Fields).Get(tt.name); got != tt.want {
			t.Errorf("%s %s %s: %s, want %s", tt.method, tt.name, tt.value, got, tt.want)
		}
		if got := r.Fields.Get(tt.name); got != tt.value {
			t.Errorf("the request is changed: %s", got)
		}
	}
}

func FuzzCodedTags(f *testing.F) {
	for _, s := range []string{`"1"`, `W/"1~br"`, `"1~gzip", "2"`, `"`, `""`, `W/`, `"a"b"`, "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		originTags(s)
		for _, x := range on().Compress.Encodings {
			tag, ok := codedTag(s, x)
			if !ok {
				continue
			}
			if back, ok := plainTag(tag); !ok || back != s {
				t.Fatalf("%s becomes %s becomes %s", s, tag, back)
			}
			if strings.IndexByte(s, '\\') < 0 && !codedTagListed(message.Fields{{Name: "if-none-match", Value: `"0", ` + tag}}, s, x) {
				t.Fatalf("%s is not found in a list", tag)
			}
		}
	})
}
