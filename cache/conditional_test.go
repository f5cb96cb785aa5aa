package cache

import (
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// stored returns an object with those fields and body.
func (h harness) stored(status int, body string, lines ...string) *Object {
	h.Helper()
	r := get("/stored")
	if reason := h.store(r, answer(status, append(lines, "Cache-Control: max-age=7200")...), body); reason != ReasonStored {
		h.Fatal("not stored:", reason)
	}
	return h.look(0, r).Object
}

func TestRFC9110_13_ConditionalRequests(t *testing.T) {
	const modified = "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT"
	for _, tt := range []struct {
		why     string
		object  []string
		request []string
		want    int
	}{
		{"no precondition", []string{`ETag: "a"`}, nil, 0},
		{"§13.1.2 the same tag", []string{`ETag: "a"`}, []string{`If-None-Match: "a"`}, 304},
		{"one of several", []string{`ETag: "a"`}, []string{`If-None-Match: "b", "a"`}, 304},
		{"one of several lines", []string{`ETag: "a"`}, []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, 304},
		{"another tag", []string{`ETag: "a"`}, []string{`If-None-Match: "b"`}, 0},
		{"compared weakly", []string{`ETag: W/"a"`}, []string{`If-None-Match: "a"`}, 304},
		{"either way", []string{`ETag: "a"`}, []string{`If-None-Match: W/"a"`}, 304},
		{"case matters", []string{`ETag: "a"`}, []string{`If-None-Match: "A"`}, 0},
		{"a comma inside a tag", []string{`ETag: "a,b"`}, []string{`If-None-Match: "x", "a,b"`}, 304},
		{"a backslash escapes nothing", []string{`ETag: "a\"`}, []string{`If-None-Match: "a\", "b"`}, 304},
		{"any", []string{`X: no tag`}, []string{`If-None-Match: *`}, 304},
		{"no stored tag", nil, []string{`If-None-Match: "a"`}, 0},
		{"§13.1.3 not modified since", []string{modified}, []string{"If-Modified-Since: Sun, 01 Mar 2026 10:00:00 GMT"}, 304},
		{"modified since", []string{modified}, []string{"If-Modified-Since: Sun, 01 Mar 2026 09:59:59 GMT"}, 0},
		{"an unreadable date is ignored", []string{modified}, []string{"If-Modified-Since: tomorrow"}, 0},
		{"ignored beside If-None-Match", []string{modified, `ETag: "a"`}, []string{`If-None-Match: "b"`, "If-Modified-Since: Sun, 01 Mar 2026 10:00:00 GMT"}, 0},
		{"RFC 9111 §4.3.2 Date stands in for Last-Modified", []string{"Date: Sun, 01 Mar 2026 11:00:00 GMT"}, []string{"If-Modified-Since: Sun, 01 Mar 2026 11:00:00 GMT"}, 304},
	} {
		h := newHarness(t)
		o := h.stored(200, "x", tt.object...)
		if got := EvaluateConditional(get("/stored", tt.request...), o); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.why, got, tt.want)
		}
	}
	h := newHarness(t)
	if got := EvaluateConditional(get("/stored", `If-None-Match: "a"`), h.stored(404, "x", `ETag: "a"`)); got != 0 {
		t.Errorf("a stored 404 is sent as it is (§13.2.1), got %d", got)
	}
}

func TestRFC9110_13_1_1_PreconditionsOfTheOrigin(t *testing.T) {
	h := newHarness(t)
	h.stored(200, "x", `ETag: "a"`, "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT")
	for _, tt := range []struct {
		why, line string
		state     State
	}{
		{"If-Match that is met", `If-Match: "a"`, Hit},
		{"If-Match of anything", "If-Match: *", Hit},
		{"If-Match that is not met here", `If-Match: "b"`, Bypass},
		{"compared strongly", `If-Match: W/"a"`, Bypass},
		{"If-Unmodified-Since that is met", "If-Unmodified-Since: Sun, 01 Mar 2026 10:00:00 GMT", Hit},
		{"If-Unmodified-Since that is not met here", "If-Unmodified-Since: Sun, 01 Mar 2026 09:00:00 GMT", Bypass},
	} {
		if res := h.look(0, get("/stored", tt.line)); res.State != tt.state {
			t.Errorf("%s: %v (%v), want %v", tt.why, res.State, res.Reason, tt.state)
		}
	}
	h.want("and nothing stored", 0, get("/other", `If-Match: "a"`), Bypass, ReasonPrecondition)
}

func TestRFC9111_4_3_1_Conditions(t *testing.T) {
	h := newHarness(t)
	f := Conditions(h.stored(200, "x", `ETag: W/"a"`, "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT"))
	if f.Get("if-none-match") != `W/"a"` || f.Get("if-modified-since") != "Sun, 01 Mar 2026 10:00:00 GMT" || len(f) != 2 {
		t.Errorf("%v", f)
	}
	if f := Conditions(newHarness(t).stored(200, "x")); f != nil {
		t.Errorf("%v without a validator", f)
	}
}

func TestRFC9110_15_4_5_NotModifiedFields(t *testing.T) {
	h := newHarness(t)
	f := NotModifiedFields(h.stored(200, "x", `ETag: "a"`, "Vary: Accept", "Content-Type: text/plain", "Content-Location: /b", "X-A: 1"))
	for name, want := range map[string]bool{"etag": true, "vary": true, "date": true, "cache-control": true, "content-location": true, "x-a": true, "content-type": false} {
		if f.Has(name) != want {
			t.Errorf("%s in a 304: %v", name, !want)
		}
	}
}

func TestRFC9110_14_2_Range(t *testing.T) {
	for _, tt := range []struct {
		value  string
		status int
		want   Range
	}{
		{"bytes=0-3", 206, Range{0, 4}},
		{"BYTES=0-3", 206, Range{0, 4}},
		{"bytes=4-", 206, Range{4, 10}},
		{"bytes=-3", 206, Range{7, 10}},
		{"bytes=-30", 206, Range{0, 10}},
		{"bytes=9-9", 206, Range{9, 10}},
		{"bytes=5-99999999999999999999999", 206, Range{5, 10}},
		{"bytes= 0-3 ", 206, Range{0, 4}},
		{"bytes=10-", 416, Range{}},
		{"bytes=10-12", 416, Range{}},
		{"bytes=99999999999999999999999-", 416, Range{}},
		{"bytes=-0", 416, Range{}},
		{"bytes=0-1,3-4", 206, Several},
		{"bytes=0-1,2-4", 206, Range{0, 5}},
		{"bytes=, 0-1 ,\t,", 206, Range{0, 2}},
		{"bytes=0-1,3-2", 200, Whole},
		{"bytes=0-1,x", 200, Whole},
		{"bytes=,", 200, Whole},
		{"bytes=20-,10-12", 416, Range{}},
		{"bytes=20-,3-4", 206, Range{3, 5}},
		{"bytes=3-2", 200, Whole},
		{"bytes=-", 200, Whole},
		{"bytes=a-b", 200, Whole},
		{"bytes=1-b", 200, Whole},
		{"bytes=1", 200, Whole},
		{"bytes", 200, Whole},
		{"lines=1-2", 200, Whole},
		{"", 200, Whole},
	} {
		h := newHarness(t)
		o := h.stored(200, "0123456789")
		rg, status := ParseRange(get("/stored", "Range: "+tt.value), o)
		if rg != tt.want || status != tt.status {
			t.Errorf("%q: %v, %d, want %v, %d", tt.value, rg, status, tt.want, tt.status)
		}
		if status == 206 && rg != Several {
			if got := h.body(o, rg); got != "0123456789"[rg.Start:rg.End] {
				t.Errorf("%q: body %q", tt.value, got)
			}
		}
	}
	if got := (Range{2, 5}).ContentRange(10); got != "bytes 2-4/10" {
		t.Error(got)
	}
	if got := UnsatisfiedRange(10); got != "bytes */10" {
		t.Error(got)
	}
	if _, status := ParseRange(get("/stored", "Range: bytes=0-"), newHarness(t).stored(200, "")); status != 416 {
		t.Errorf("nothing of an empty body can be had, got %d", status)
	}
	if _, status := ParseRange(request("HEAD", "/stored", "Range: bytes=0-"), newHarness(t).stored(200, "x")); status != 200 {
		t.Errorf("a range is defined for GET alone, got %d", status)
	}
}

func TestRFC9110_13_1_5_IfRange(t *testing.T) {
	const modified = "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT"
	for _, tt := range []struct {
		why    string
		object []string
		value  string
		status int
	}{
		{"the same strong tag", []string{`ETag: "a"`}, `"a"`, 206},
		{"another tag", []string{`ETag: "a"`}, `"b"`, 200},
		{"a weak tag never matches", []string{`ETag: W/"a"`}, `W/"a"`, 200},
		{"exactly that date", []string{modified}, "Sun, 01 Mar 2026 10:00:00 GMT", 206},
		{"a later date", []string{modified}, "Sun, 01 Mar 2026 10:00:01 GMT", 200},
		{"a date that is not a strong validator", []string{"Last-Modified: Sun, 01 Mar 2026 12:00:00 GMT"}, "Sun, 01 Mar 2026 12:00:00 GMT", 200},
		{"nonsense", []string{modified}, "x", 200},
		{"nothing", []string{modified}, "", 200},
	} {
		h := newHarness(t)
		o := h.stored(200, "0123456789", tt.object...)
		if _, status := ParseRange(get("/stored", "Range: bytes=0-1", "If-Range: "+tt.value), o); status != tt.status {
			t.Errorf("%s: %d, want %d", tt.why, status, tt.status)
		}
	}
}

func FuzzEntityTags(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Add(`"a,b`, `"a`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		fs := message.Fields{{Name: "if-none-match", Value: list}}
		if tagListed(fs, "if-none-match", tag, strongly) && !tagListed(fs, "if-none-match", tag, weakly) {
			t.Fatal("what matches strongly matches weakly")
		}
	})
}

// revalidate answers the stale object of r with a 304 of those fields at a time after epoch.
func (h harness) revalidate(after time.Duration, r *message.Request, lines ...string) *Object {
	h.Helper()
	res := h.look(after, r)
	if res.State != Stale {
		h.Fatalf("%v (%v), want stale", res.State, res.Reason)
	}
	f, leader := h.Begin(epoch.Add(after), h.key(r), r)
	if !leader {
		h.Fatal("must lead")
	}
	o := f.NotModified(r, answer(304, lines...).at(epoch.Add(after)), res.Object, h.policy)
	f.Fail(nil)
	return o
}

func TestRFC9111_4_3_4_NotModifiedFreshens(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`, "X-A: old", "X-B: kept", "Content-Encoding: gzip", "Date: Sun, 01 Mar 2026 12:00:00 GMT"), "body")
	o := h.revalidate(20*time.Second, r, `ETag: "a"`, "X-A: new", "X-A: newer", "Content-Length: 0", "Content-Encoding: br", "Cache-Control: max-age=30", "Age: 5")
	if o == nil {
		t.Fatal("the 304 is about the stored response")
	}
	res := h.want("fresh again", 44*time.Second, r, Hit, ReasonFresh)
	if res.Object.serial != o.serial || h.body(o, Whole) != "body" || o.Length != 4 {
		t.Error("the body is that of the stored response")
	}
	if res.Age != 29*time.Second {
		t.Errorf("age %v: that of the 304 counts", res.Age)
	}
	f := res.Object.Fields
	if v := f.Values("x-a"); len(v) != 2 || v[0] != "new" {
		t.Errorf("X-A %q: replaced by the 304's lines", v)
	}
	if f.Get("x-b") != "kept" || f.Get("content-encoding") != "gzip" || f.Get("date") != "Sun, 01 Mar 2026 12:00:20 GMT" {
		t.Errorf("%v", f)
	}
	h.want("until it is stale again", 45*time.Second, r, Stale, ReasonExpired)
}

func TestRFC9111_4_3_4_NotModifiedWithOtherValidators(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`, "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT"), "body")
	o := h.revalidate(20*time.Second, r, `ETag: "b"`, "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT")
	res := h.want("the condition named nothing else", 21*time.Second, r, Hit, ReasonFresh)
	if res.Object.serial != o.serial || h.body(o, Whole) != "body" {
		t.Error("the stored response serves on")
	}
	if tags := o.Fields.Values("etag"); len(tags) != 1 || tags[0] != `"a"` {
		t.Errorf("tag %q: it is that of the stored bytes", tags)
	}
	if v := o.Fields.Values("last-modified"); len(v) != 1 || v[0] != "Sun, 01 Mar 2026 11:00:00 GMT" {
		t.Errorf("Last-Modified %q", v)
	}
}

func TestRFC9111_3_2_FieldsThatA304LeavesAlone(t *testing.T) {
	kept := []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-MD5", "Content-Digest", "Repr-Digest", "Digest", "ETag"}
	replaced := []string{"Content-Type", "Content-Language", "Content-Location", "Content-Security-Policy", "Content-Disposition", "Content-Foo",
		"X-Frame-Options", "Set-Cookie", "Set-Cookie2", "Link", "Last-Modified", "Expires", "Alt", "Via"}
	h := newHarness(t)
	r := get("/")
	stored, fresh := []string{"Cache-Control: max-age=10"}, []string{"Cache-Control: max-age=10"}
	for _, name := range append(kept, replaced...) {
		stored, fresh = append(stored, name+": old"), append(fresh, name+": new")
	}
	h.store(r, answer(200, stored...), "body")
	f := h.revalidate(20*time.Second, r, fresh...).Fields
	for _, name := range kept[1:] { // Content-Length is no field of an object
		if got := f.Values(strings.ToLower(name)); len(got) != 1 || got[0] != "old" {
			t.Errorf("%s: %q, want the stored one", name, got)
		}
	}
	for _, name := range replaced {
		if got := f.Values(strings.ToLower(name)); len(got) != 1 || got[0] != "new" {
			t.Errorf("%s: %q, want the 304's", name, got)
		}
	}
}

func TestNotModifiedThatForbidsStoring(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`), "body")
	if o := h.revalidate(20*time.Second, r, "Cache-Control: no-store"); o == nil || h.body(o, Whole) != "body" {
		t.Error("the leader still serves it")
	}
	h.want("nobody after it", 21*time.Second, r, Miss, ReasonNotStored)
}

func TestNotModifiedOfARequestWithCredentialsChangesNothing(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: max-age=10", `ETag: "a"`), "body")
	if h.revalidate(20*time.Second, get("/", "Authorization: Basic eA=="), "X-User: me") == nil {
		t.Fatal("the leader is served")
	}
	if res := h.want("still there, still stale", 21*time.Second, get("/"), Stale, ReasonExpired); res.Object.Fields.Has("x-user") {
		t.Error("one user's field reached the store")
	}
}

func TestRFC9111_7_3_NotModifiedWithACookie(t *testing.T) {
	for _, tt := range []struct{ rule, says, cookie string }{
		{CookieStore, "max-age=10", "session=1"}, {CookieStore, "", ""}, // what was said of the stored response was said of another one
		{CookieRefuse, "max-age=10", ""}, {CookieStrip, "max-age=10", ""}, {CookieStrip, "", ""},
	} {
		h := newHarness(t)
		h.policy.SetCookie = tt.rule
		r := get("/")
		h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`), "body")
		lines := []string{"Set-Cookie: session=1"}
		if tt.says != "" {
			lines = append(lines, "Cache-Control: "+tt.says)
		}
		h.revalidate(20*time.Second, r, lines...)
		if res := h.want("fresh again", 21*time.Second, r, Hit, ReasonFresh); res.Object != nil && res.Object.Fields.Get("set-cookie") != tt.cookie {
			t.Errorf("%s: %v", tt.rule, res.Object.Fields)
		}
	}
}

func TestNotModifiedAfterEviction(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`), "body")
	res := h.look(20*time.Second, r)
	before := h.budget.used.Load()
	f, _ := h.Begin(epoch, h.key(r), get("/", "Cache-Control: no-cache"))
	h.Purge(h.key(r))
	o := f.NotModified(r, answer(304).at(epoch.Add(20*time.Second)), res.Object, h.policy)
	if o == nil || h.body(o, Whole) != "body" {
		t.Error("the leader is served from what it holds")
	}
	h.want("and it does not come back", 21*time.Second, r, Miss, ReasonNotStored)
	if h.budget.used.Load() >= before {
		t.Error("its bytes are still counted")
	}
}

func TestPreconditionsOfAStaleResponseAreTheOrigins(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: max-age=10, stale-while-revalidate=10", `ETag: "a"`), "x")
	// The fetch that others share goes without If-Match, and may bring another representation: a 206 of that one would be
	// put together with parts of "a".
	h.want("fresh", 0, get("/", `If-Match: "a"`, "Range: bytes=0-"), Hit, ReasonFresh)
	h.want("stale", 30*time.Second, get("/", `If-Match: "a"`, "Range: bytes=0-"), Bypass, ReasonPrecondition)
	h.want("stale", 30*time.Second, get("/", "If-Unmodified-Since: Sun, 01 Mar 2026 12:00:00 GMT"), Bypass, ReasonPrecondition)
	h.want("a reload", 0, get("/", `If-Match: "a"`, "Cache-Control: no-cache"), Bypass, ReasonPrecondition)
	if res := h.look(15*time.Second, get("/", `If-Match: "a"`)); !res.ServeStaleWhileRevalidate {
		t.Error("what serves without the origin may go on to")
	}
}

// TestA304DoesNotStrengthenTheTag: bytes that were stored under a weak tag are those of any representation that it names.
func TestA304DoesNotStrengthenTheTag(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: W/"a"`), "body")
	if h.revalidate(20*time.Second, r, `ETag: "a"`) == nil {
		t.Fatal("servers that compress send the weak tag with a 200 and the strong one with a 304")
	}
	res := h.want("fresh again", 21*time.Second, r, Hit, ReasonFresh)
	if got := res.Object.Fields.Values("etag"); len(got) != 1 || got[0] != `W/"a"` {
		t.Errorf("tag %q", got)
	}
}

func TestA304LeavesTheTrailersCounted(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`), h.policy)
	w.Commit(fields("X-Checksum: " + strings.Repeat("x", 1000)))
	h.revalidate(20*time.Second, r)
	if got, want := h.budget.used.Load()-base, h.held(); got != want {
		t.Errorf("%d bytes counted, %d held", got, want)
	}
}

func TestATagThatIsNoneMatchesNothing(t *testing.T) {
	h := newHarness(t)
	o := h.stored(200, "x")
	for _, tag := range []string{"W/", ""} {
		if EvaluateConditional(get("/stored", "If-None-Match: "+tag), o) != 0 {
			t.Errorf("If-None-Match %q matches a response without a tag", tag)
		}
	}
}
