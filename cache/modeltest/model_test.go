package modeltest

import (
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestHistoriesAreWrittenAsTheyAreRead(t *testing.T) {
	for seed := range uint64(300) {
		h := Generate(Bytes(seed))
		text := h.String()
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again.String() != text {
			t.Fatalf("read back:\n%s\nwritten:\n%s", again, text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("+1s GET /a [range: bytes=0-1] leave\n = 200 [etag: \"{v}\"] delay=2s cut lie\n")
	f.Add("# nothing\n= 200\n+x")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(h.String()); err != nil || again.String() != h.String() {
			t.Errorf("%q: %v", h.String(), err)
		}
	})
}

func TestExpand(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for template, want := range map[string]string{
		`"{v}"`: `"3-en"`, `W/"{v-1}"`: `W/"2-en"`, "{now+60}": "Sat, 01 Jan 2000 00:01:00 GMT", "{850 now-1}": "Friday, 31-Dec-99 23:59:59 GMT",
		"{asc now+0}": "Sat Jan  1 00:00:00 2000", "{lm}": "Wed, 01 Dec 1999 00:03:00 GMT", "plain": "plain", "{": "{", "": "",
	} {
		if got := Expand(template, now, 3, "-en"); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
}

func TestShrink(t *testing.T) {
	h, err := Parse("+0s GET /a\n = 200\n+5s GET /a [x: 1] [y: 2] leave\n = 200 [z: 3] cut bump delay=1s\n = 404\n+0s HEAD /b\n = 0")
	if err != nil {
		t.Fatal(err)
	}
	got := Shrink(h, func(h History) bool {
		return strings.Contains(h.String(), "[y: 2]") && strings.Contains(h.String(), "bump")
	})
	if want := "+0s GET /a [y: 2]\n  = 200 bump\n"; got.String() != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// step is an exchange as a faulty or a right cache would make it: what the origin said (a status and fields; "" if it was not asked), then what the
// client got.
type step struct {
	at     int // seconds
	ask    string
	origin string
	got    string
}

// TestFaultsAreFound shows that the model is no yes-man: the last step of each case is right or wrong as it says.
func TestFaultsAreFound(t *testing.T) {
	for _, c := range []struct {
		why   string
		steps []step
		fault string // part of what Check says of the last step, "" when it is right
	}{
		{"a hit", []step{{0, "GET", "200 max-age=10", "200 1"}, {9, "GET", "", "200 1 age:9"}}, ""},
		{"stale (RFC 9111 §4.2)", []step{{0, "GET", "200 max-age=10", "200 1"}, {10, "GET", "", "200 1 age:10"}}, "stale by 0s"},
		{"a wrong Age (§5.1)", []step{{0, "GET", "200 max-age=10", "200 1"}, {9, "GET", "", "200 1 age:8"}}, `age "8"`},
		{"no Age (§4)", []step{{0, "GET", "200 max-age=10", "200 1"}, {9, "GET", "", "200 1"}}, `age ""`},
		{"a useless fetch", []step{{0, "GET", "200 max-age=10", "200 1"}, {5, "GET", "200", "200 2"}}, "forwarded, while"},
		{"no-store (§5.2.2.5)", []step{{0, "GET", "200 no-store", "200 1"}, {0, "GET", "", "200 1 age:0"}}, "0 suit"},
		{"private (§5.2.2.7)", []step{{0, "GET", "200 private,max-age=9", "200 1"}, {0, "GET", "", "200 1 age:0"}}, "0 suit"},
		{"no-cache (§5.2.2.4)", []step{{0, "GET", "200 no-cache,max-age=9", "200 1"}, {0, "GET", "", "200 1 age:0"}}, "no-cache"},
		{"another variant (§4.1)", []step{{0, "GET lang=en", "200 max-age=9 vary:lang", "200 1"}, {0, "GET lang=de", "", "200 1 age:0"}}, "0 suit"},
		{"the same variant (§4.1)", []step{{0, "GET lang=en", "200 max-age=9 vary:lang", "200 1"}, {0, "GET lang=en", "", "200 1 age:0"}}, ""},
		{"after POST (§4.4)", []step{{0, "GET", "200 max-age=9", "200 1"}, {0, "POST", "200", "200 2"}, {0, "GET", "", "200 1 age:0"}}, "0 suit"},
		{"after a failed POST (§4.4)", []step{{0, "GET", "200 max-age=9", "200 1"}, {0, "POST", "500", "500 2"}, {0, "GET", "", "200 1 age:0"}}, ""},
		{"Authorization (§3.5)", []step{{0, "GET authorization=x", "200 max-age=9", "200 1"}, {0, "GET", "", "200 1 age:0"}}, "0 suit"},
		{"Authorization, shared (§3.5)", []step{{0, "GET authorization=x", "200 s-maxage=9", "200 1"}, {0, "GET", "", "200 1 age:0"}}, ""},
		{"swr (RFC 5861 §3)", []step{{0, "GET", "200 max-age=1,stale-while-revalidate=9", "200 1"}, {5, "GET", "", "200 1 age:5"}}, ""},
		{"beyond swr", []step{{0, "GET", "200 max-age=1,stale-while-revalidate=3", "200 1"}, {5, "GET", "", "200 1 age:5"}}, "stale by 4s"},
		{"must-revalidate beats swr (§4.2.4)", []step{{0, "GET", "200 max-age=1,stale-while-revalidate=9,must-revalidate", "200 1"}, {5, "GET", "", "200 1 age:5"}}, "forbid"},
		{"a mixed answer", []step{{0, "GET", "200 max-age=1", "200 1"}, {5, "GET", "200", "200 1"}}, `has serial "1", not "2"`},
		{"no conditions, and 304", []step{{0, "GET", "200 max-age=9", "200 1"}, {0, "GET", "", "304 1 age:0"}}, "conditions do not hold"},
		{"412 out of nowhere", []step{{0, "GET", "200 max-age=9", "200 1"}, {0, "GET", "", "412 1 age:0"}}, "status 412"},
		{"only-if-cached (§5.2.1.7)", []step{{0, "GET cache-control=only-if-cached", "200", "200 1"}}, "only-if-cached"},
	} {
		m := &Model{Policy: Policy{ObeyRequests: true, SharedForbidsStale: true, Useful: true}, Origin: "https://shop.example"}
		var err error
		for i, s := range c.steps {
			x := s.exchange(i + 1)
			if err = m.Check(x); err != nil && i < len(c.steps)-1 {
				t.Fatalf("%s, step %d: %v", c.why, i+1, err)
			}
			m.Learn(x)
		}
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", c.why, err, c.fault)
		}
	}
}

func (s step) exchange(serial int) *Exchange {
	now := time.Date(2000, 1, 1, 0, 0, s.at, 0, time.UTC)
	method, more, _ := strings.Cut(s.ask, " ")
	r := &Request{Method: method, Target: "/a"}
	if name, value, ok := strings.Cut(more, "="); ok {
		r.Fields.Add(name, value)
	}
	x := &Exchange{Request: r, At: now, Answered: now}
	if s.origin != "" {
		resp := &Response{Sent: now, Received: now}
		resp.Status, resp.Fields = stated(s.origin)
		resp.Fields.Add("x-serial", itoa(serial))
		resp.Body = "body " + itoa(serial)
		x.Forwards = []Forward{{Request: r, Response: resp}}
	}
	x.Answer.Length = -1
	x.Answer.Status, x.Answer.Fields = stated(s.got)
	x.Answer.Fields[0].Name = "x-serial"
	x.Answer.Body = "body " + x.Answer.Fields[0].Value
	return x
}

// stated reads a status, Cache-Control, and fields as name:value.
func stated(s string) (status int, f message.Fields) {
	for i, w := range strings.Fields(s) {
		name, value, ok := strings.Cut(w, ":")
		switch {
		case i == 0:
			status = atoi(w)
		case ok:
			f.Add(name, value)
		default:
			f.Add("cache-control", w)
		}
	}
	return status, f
}

func atoi(s string) int { n, _ := Delta(s); return int(n / time.Second) }

func itoa(n int) string { return string(rune('0' + n)) }
