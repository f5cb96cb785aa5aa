package proxy

import (
	"testing"

	"nearcast/cache/modeltest"
)

// keptHistories are random histories that once failed, shrunk, as the test prints them.
var keptHistories = []struct{ why, setting, text string }{
	{"RFC 9111 §5.2.1.7: only-if-cached is not forwarded because of If-Match", "default", `
		+0s GET /a
		  = 200 [last-modified: {lm}]
		+0s GET /a [cache-control: only-if-cached] [if-match: "x"]
		  = 200`},
	{"RFC 9111 §4.3.4: a 304 that adds a Vary updates what is stored", "default", `
		+0s GET /a
		  = 203 [etag: "{v}"]
		+0s GET /a
		  = 503 [date: {now+0}] [vary: accept-language] lie
		+0s GET /a
		  = 200`},
	{"RFC 9111 §5.2.1.3: min-fresh does not take what is stale, even while it is revalidated", "default", `
		+0s GET /a
		  = 200 [cache-control: max-age=5, stale-while-revalidate=5, stale-if-error=10]
		+10s GET /a [cache-control: min-fresh=1000]
		  = 200`},
	{"RFC 9111 §7.3: a cookie that comes with a 304 is not for everybody", "default", `
		+0s GET /a
		  = 200 [cache-control: max-age=10] [etag: "{v}"]
		+10s GET /a
		  = 200 [cache-control: public] [expires: {now+60}] [etag: "{v}"]
		+61s GET /a
		  = 200 [set-cookie: id=7] [etag: "{v}"]
		+0s GET /a [cache-control: max-stale]
		  = 200`},
	{"RFC 9111 §3.3: a part that broke off is completed, and its reader does not wait for it", "default", `
		+0s GET /a [range: bytes=0-3]
		  = 200 [cache-control: max-age=60] [etag: "{v}"] cut
		+0s GET /a
		  = 200 [cache-control: max-age=60] [etag: "{v}"]`},
	{"RFC 9110 §14.2: several ranges that one stored part has", "default", `
		+0s GET /a [range: bytes=0-9]
		  = 200 [cache-control: max-age=10, stale-while-revalidate=10]
		+0s GET /a [range: bytes=0-1,4-5]
		  = 200`},
}

func TestKeptHistories(t *testing.T) {
	for _, k := range keptHistories {
		h, err := modeltest.Parse(k.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := replay(t, k.setting, h); err != nil {
			t.Errorf("%s: %v", k.why, err)
		}
	}
}
