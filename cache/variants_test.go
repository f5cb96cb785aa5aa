package cache

import (
	"fmt"
	"strings"
	"testing"
)

func TestRFC9110_13_1_2_TagsThatAreOffered(t *testing.T) {
	h := newHarness(t)
	for i := range 2 * maxOffered {
		h.store(get("/", fmt.Sprintf("X-A: %d", i)), answer(200, "Cache-Control: max-age=60", "Vary: X-A", fmt.Sprintf(`ETag: "%d"`, i)), fmt.Sprint(i))
	}
	for i, line := range []string{`ETag: W/"w"`, `ETag: unquoted`, `ETag: "a", "b"`, "X: y"} {
		h.store(get("/", fmt.Sprintf("X-A: not %d", i)), answer(200, "Cache-Control: max-age=60", "Vary: X-A", line), "x")
	}
	h.store(get("/", "X-A: 404"), answer(404, "Cache-Control: max-age=60", "Vary: X-A", `ETag: "404"`), "x")
	h.store(get("/", "X-A: gzip", "Accept-Encoding: gzip"), answer(200, "Cache-Control: max-age=60", "Vary: X-A, Accept-Encoding", `ETag: "gzip"`, "Content-Encoding: gzip"), "x")

	r := get("/", "X-A: new")
	want := []string{}
	for i := range maxOffered {
		want = append(want, fmt.Sprintf(`"%d"`, 2*maxOffered-1-i))
	}
	if got := h.Offered(h.key(r), r); got != strings.Join(want, ", ") {
		t.Errorf("offered %s, want %s", got, want)
	}
	r.Fields.Add("accept-encoding", "gzip")
	if got := h.Offered(h.key(r), r); !strings.HasPrefix(got, `"gzip", "15"`) {
		t.Errorf("who accepts gzip is offered %s", got)
	}
	for tag, want := range map[string]bool{`"3"`: true, `W/"3"`: false, `W/"w"`: false, `"404"`: false, "": false, `"gzip"`: true} {
		if o := h.Tagged(h.key(r), r, tag); (o != nil) != want {
			t.Errorf("%s selects %v", tag, o)
		}
	}
	r.Method = "HEAD"
	if got := h.Offered(h.key(r), r); got != "" {
		t.Errorf("HEAD is offered %s", got)
	}
}
