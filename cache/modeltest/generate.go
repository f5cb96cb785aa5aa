package modeltest

import (
	"math/rand/v2"
	"slices"
	"time"

	"nearcast/proxy/message"
)

// Bytes makes a random history from a seed, the bytes that [Generate] takes.
func Bytes(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0x6361636865))
	b := make([]byte, 60+rnd.IntN(300))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// chooser takes choices from bytes; when there are none left, always the first.
type chooser struct {
	rest []byte
	// calm: most things are as they mostly are, so that something is stored for long enough to be asked for in many ways.
	calm bool
}

func (c *chooser) next(n int) int {
	if len(c.rest) == 0 {
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return int(b) % n
}

func pick[T any](c *chooser, from []T) T { return from[c.next(len(from))] }

// usual is pick from the first few, if the history is a calm one.
func usual[T any](c *chooser, few int, from []T) T {
	if c.calm && c.next(8) > 0 {
		from = from[:few]
	}
	return pick(c, from)
}

// one in n, of calm histories in three times as many.
func (c *chooser) one(n int) bool {
	if c.calm {
		n *= 3
	}
	return c.next(n) == n-1
}

// maxSteps bounds a history.
const maxSteps = 32

// Generate makes a history: a byte is a choice, so that a small change makes another history that is much alike.
func Generate(b []byte) History {
	c := &chooser{rest: b}
	c.calm = c.next(2) == 1
	var h History
	for len(c.rest) > 0 && len(h) < maxSteps {
		h = append(h, c.step())
	}
	return h
}

var (
	waits = []time.Duration{0, 0, 0, time.Second, 400 * time.Millisecond, 2 * time.Second, 5 * time.Second, 9 * time.Second, 10 * time.Second, 11 * time.Second, 30 * time.Second,
		61 * time.Second, 100 * time.Second, 301 * time.Second, time.Hour, 25 * time.Hour}
	methods = []string{"GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGEX", "PURGE"}
	targets = []string{"/a", "/a", "/a", "/a", "/a", "/b", "/a?x=1", "/a?utm=1", "/a?utm=2&x=1"}
)

func (c *chooser) step() Step {
	s := Step{Wait: usual(c, 6, waits), Request: Request{Method: usual(c, 9, methods), Target: usual(c, 4, targets)}}
	if s.Request.Method == "PURGE" {
		s.purge(c)
		return s
	}
	s.Request.Body = s.Request.Method == "POST" || s.Request.Method == "PUT"
	add := func(name string, odds int, values []string) {
		if c.one(odds) {
			s.Request.Fields.Add(name, pick(c, values))
		}
	}
	add("accept-language", 4, []string{"en", "de", "en, de", "en,de", "EN", ""})
	if c.next(5) == 4 {
		s.Request.Fields.Add("x-tenant", pick(c, []string{"1", "2", ""}))
	}
	add("authorization", 8, []string{"Basic eA=="})
	if c.next(5) == 4 {
		s.Request.Fields.Add("cookie", pick(c, []string{"id=1", "id=2", "b=1; id=1"}))
	}
	if c.next(3) > 0 {
		s.Request.Fields.Add("accept-encoding", usual(c, 2, []string{"gzip", "gzip, br", "br, gzip", "br;q=0.9, gzip", "identity", "gzip;q=0", "zstd, br, gzip"}))
	}
	add("user-agent", 10, []string{"phone Mobile"})
	add("cache-control", 5, requestDirectives)
	add("pragma", 20, []string{"no-cache", "x"})
	if c.next(12) == 11 {
		s.Request.Fields = append(s.Request.Fields, pick(c, conditions[2:4])...)
	} else if c.next(4) == 3 {
		s.Request.Fields = append(s.Request.Fields, pick(c, conditions)...)
	} else if c.next(5) == 4 {
		s.Request.Fields = append(s.Request.Fields, pick(c, ranges)...)
	}
	if c.next(10) == 9 {
		s.Restart = pick(c, []string{"restart", "crash"})
	}
	if c.next(9) == 8 {
		s.Purge = Purge{Kind: pick(c, purgeKinds), Soft: c.one(3), At: pick(c, []time.Duration{0, 0, 100 * time.Millisecond, time.Second})}
		switch s.Purge.Kind {
		case "post":
			s.Purge.Target, s.Purge.Soft = pick(c, targets), false
		case "url":
			s.Purge.Target = pick(c, targets)
		case "prefix":
			s.Purge.Target = pick(c, []string{"/a", "/", "/a?x=", "/b"})
		case "tag":
			s.Purge.Target = pick(c, []string{"t1", "t2", "T1"})
		}
	}
	s.Leave = c.one(20)
	for more := true; more && len(s.Plans) < 3; more = c.one(4) {
		s.Plans = append(s.Plans, c.plan())
	}
	if !s.Leave && !unsafe(s.Request.Method) && c.one(6) {
		s.Crowd = 1 + c.next(4)
		s.Plans[0].Delay = pick(c, []time.Duration{300 * time.Millisecond, 2 * time.Second})
	}
	if s.Leave { // there must be a time at which it can go
		s.Plans[0].Delay = 2 * time.Second
	}
	return s
}

// purge makes the step one that purges by a request.
func (s *Step) purge(c *chooser) {
	if c.one(3) {
		s.Request.Fields.Add("purge-soft", pick(c, []string{"1", "0"}))
	}
	switch c.next(4) {
	case 0:
		s.Request.Target = pick(c, []string{"/", "/", "/a"})
		s.Request.Fields.Add("surrogate-key", pick(c, []string{"t1", "t2"}))
	case 1:
		s.Request.Target += "*"
	}
	s.Plans = []Plan{{Status: pick(c, []int{200, 404})}}
}

// ranges are such as parts are put together of.
var ranges = []message.Fields{
	fields("range", "bytes=0-9"), fields("range", "bytes=10-19"), fields("range", "bytes=20-39"), fields("range", "bytes=0-39"), fields("range", "bytes=15-"), fields("range", "bytes=40-"), fields("range", "bytes=-10"),
	fields("range", "bytes=5-14"), fields("range", "bytes=8-8"), fields("range", "bytes=0-9", "if-range", `"{v}"`), fields("range", "bytes=10-49", "if-range", "{lm}"), fields("range", "bytes=0-"),
}

var requestDirectives = []string{"no-cache", "no-store", "max-age=0", "max-age=5", "max-age=1000", "max-stale", "max-stale=5", "min-fresh=5", "min-fresh=1000", "only-if-cached",
	"max-age=5, max-stale=10", "max-age=x", "only-if-cached, max-stale", "stale-if-error=100", "no-cache=x", "foo", `max-age="5"`, "no-transform"}

// fields makes a field list of names and values in turn.
func fields(lines ...string) (f message.Fields) {
	for i := 0; i < len(lines); i += 2 {
		f.Add(lines[i], lines[i+1])
	}
	return f
}

var conditions = []message.Fields{
	fields("if-none-match", `"{v}"`), fields("if-none-match", `"{v-1}"`), fields("if-none-match", `"{v}~gzip"`), fields("if-none-match", `"{v}~br"`), fields("if-none-match", `W/"{v}"`), fields("if-none-match", "*"), fields("if-none-match", `"x", "{v}"`),
	fields("if-none-match", `"x"`, "if-modified-since", "{lm}"), fields("if-modified-since", "{lm}"), fields("if-modified-since", "{lm-1}"), fields("if-modified-since", "{850 lm}"),
	fields("if-modified-since", "{now+0}"), fields("if-modified-since", "junk"), fields("if-match", `"{v}"`), fields("if-match", `"x"`), fields("if-unmodified-since", "{lm}"),
	fields("range", "bytes=0-3"), fields("range", "bytes=5-"), fields("range", "bytes=-4"), fields("range", "bytes=900-"), fields("range", "bytes=0-1,4-5"), fields("range", "bytes=3-1"),
	fields("range", "bytes=0-3", "if-range", `"{v}"`), fields("range", "bytes=0-3", "if-range", `"{v-1}"`), fields("range", "bytes=0-3", "if-range", "{lm}"),
	fields("range", "bytes=0-3", "if-range", `W/"{v}"`), fields("range", "bytes=-0"), fields("range", "lines=1-2"), fields("range", "bytes=0-3", "if-none-match", `"{v}"`),
}

var statuses = []int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 203, 204, 301, 302, 404, 404, 410, 500, 503, 502, 299, 599, 400, 414, 0, 0, 200, 200, 405, 501, 451}

func (c *chooser) plan() Plan {
	p := Plan{Status: usual(c, 4, statuses)}
	add := func(name string, odds int, values []string) {
		if c.one(odds) {
			p.Fields.Add(name, pick(c, values))
		}
	}
	if !c.one(8) {
		p.Fields.Add("date", usual(c, 4, []string{"{now+0}", "{now+0}", "{now+0}", "{now+0}", "{now-5}", "{now-100}", "{now+100}", "{850 now+0}", "{asc now+0}", "junk"}))
	}
	if !c.one(6) {
		p.Fields.Add("cache-control", usual(c, 6, responseDirectives))
	}
	add("cache-control", 12, responseDirectives)
	add("cdn-cache-control", 12, targetedDirectives)
	add("expires", 6, []string{"{now+10}", "{now+60}", "{now-10}", "0", "{850 now+60}", "{asc now+60}", "{now+0}", "junk"})
	add("expires", 30, []string{"{now+60}", "{now+10}"})
	add("age", 8, []string{"0", "5", "50", "x", "5, 100", "-1", "99999999999999"})
	if !c.one(3) {
		p.Fields.Add("etag", usual(c, 3, []string{`"{v}"`, `"{v}"`, `"{v}"`, `W/"{v}"`}))
	}
	add("last-modified", 2, []string{"{lm}", "{lm}", "{lm}", "{850 lm}", "junk", "{now+0}"})
	add("vary", 4, []string{"accept-language", "Accept-Language, X-Tenant", "x-tenant", "*", "accept-language, *", "x-none", "accept-encoding"})
	if c.next(2) == 1 {
		p.Fields.Add("surrogate-key", pick(c, []string{"t1", "t1 t2", "t2"}))
	}
	add("cache-tag", 8, []string{"t1", "T1,t2 , x", ""})
	if c.next(5) == 4 {
		p.Fields.Add("link", "</s.css>; rel=preload; as=style")
	}
	add("set-cookie", 12, []string{"id=7"})
	add("x-secret", 6, []string{"s"})
	add("content-location", 12, []string{"/b", "/a", "https://shop.example/b", "https://other.example/a"})
	if p.Status/100 == 3 || c.one(12) {
		p.Fields.Add("location", pick(c, []string{"/b", "/a?x=1", "https://shop.example/a", "https://other.example/a", "a", "//shop.example/b", ":bad"}))
	}
	p.Fields.Add("content-type", pick(c, []string{"application/octet-stream", "text/html"}))
	p.Delay = pick(c, []time.Duration{0, 0, 0, 0, 300 * time.Millisecond, 2 * time.Second})
	p.Bump = c.one(3)
	p.Blind, p.Lie, p.Cut, p.Chunked = c.one(6), c.one(14), c.one(14), c.one(3)
	return p
}

var responseDirectives = slices.Concat(
	[]string{"max-age=60", "max-age=60", "max-age=1000", "max-age=10", "max-age=10", "max-age=10, stale-while-revalidate=10", "max-age=60, no-transform", "max-age=100, stale-while-revalidate=30", "max-age=5, stale-if-error=60", "max-age=1"},
	[]string{"s-maxage=10", "s-maxage=10, max-age=60", "s-maxage=60, max-age=0", "public", "public, max-age=10", "private, max-age=60", "no-store", "no-cache", "no-cache, max-age=60", "must-revalidate, max-age=5",
		"proxy-revalidate, max-age=5", "must-understand, no-store, max-age=60", "must-understand, max-age=60", "max-age=0", "max-age=0, stale-while-revalidate=100"},
	[]string{`no-cache="x-secret", max-age=60`, `private="x-secret", max-age=60`, `private="X-Secret, set-cookie", max-age=60`, `no-cache="set-cookie", max-age=60`, "s-maxage=5, stale-while-revalidate=60",
		"s-maxage=5, stale-if-error=60", "max-age=5, stale-while-revalidate=5, stale-if-error=10", "must-revalidate, max-age=5, stale-while-revalidate=60, stale-if-error=60"},
	// not in the grammar, or doubtful
	[]string{"max-age=x", "max-age=-5", "max-age=1.5", `max-age="60"`, "MAX-AGE=60", "max-age = 60", "max-age=60, max-age=5", "max-age=5, max-age=60", "max-age", "s-maxage=x, max-age=60", ",,max-age=60,,", "no-store=x, max-age=60",
		`max-age=60, ext="no-store"`, `max-age=60, ext="a, no-store"`, `max-age=60, ext="`, `private=, max-age=60`, "max-age=99999999999", "immutable, max-age=60", "public=x", "max-age=60;x", `no-cache="", max-age=60`, "max-age='60'"},
)

var targetedDirectives = []string{"max-age=60", "max-age=10", "no-store", "private", "no-cache, max-age=60", "max-age=60;x=1", `max-age="60"`, "max-age=60,", "max-age=-1", "s-maxage=5, max-age=60", "", "max-age=1.5", "x", "max-age=5, max-age=60",
	"MAX-AGE=60", "must-revalidate, max-age=5", "max-age=5, stale-while-revalidate=60", "public", `no-cache="x-secret", max-age=60`, "max-age=5 60", "max-age=9999999999999999"}
