package cache

import (
	"reflect"
	"strings"
	"testing"
)

func TestRFC9111_5_2_CacheControlParsing(t *testing.T) {
	with := func(change func(*directives)) directives {
		d := newDirectives()
		change(&d)
		return d
	}
	for _, tt := range []struct {
		why   string
		lines []string
		want  directives
	}{
		{"plain", []string{"max-age=60, public"}, with(func(d *directives) { d.maxAge, d.flags = 60, flagPublic })},
		{"names are case-insensitive", []string{"MAX-Age=60,No-Store"}, with(func(d *directives) { d.maxAge, d.flags = 60, flagNoStore })},
		{"lines of one field are one list", []string{"max-age=60", "no-cache"}, with(func(d *directives) { d.maxAge, d.flags = 60, flagNoCache })},
		{"a quoted argument is accepted", []string{`max-age="60"`}, with(func(d *directives) { d.maxAge = 60 })},
		{"quoted pairs are resolved", []string{`max-age="6\0"`}, with(func(d *directives) { d.maxAge = 60 })},
		{"single quotes are no quotes: unreadable, so stale", []string{"max-age='60'"}, with(func(d *directives) { d.maxAge = 0 })},
		{"a negative age is unreadable", []string{"max-age=-1"}, with(func(d *directives) { d.maxAge = 0 })},
		{"a fraction is unreadable", []string{"max-age=1.5"}, with(func(d *directives) { d.maxAge = 0 })},
		{"no argument at all", []string{"max-age"}, with(func(d *directives) { d.maxAge = 0 })},
		{"an empty argument", []string{"max-age="}, with(func(d *directives) { d.maxAge = 0 })},
		{"white space before =", []string{"max-age =60"}, with(func(d *directives) { d.maxAge = 0 })},
		{"white space after =", []string{"max-age= 60"}, with(func(d *directives) { d.maxAge = 0 })},
		{"leading zeros", []string{"max-age=0060"}, with(func(d *directives) { d.maxAge = 60 })},
		{"overflow saturates", []string{"max-age=99999999999999999999999"}, with(func(d *directives) { d.maxAge = maxDelta })},
		{"the more restrictive of two", []string{"max-age=60, max-age=10, max-age=30"}, with(func(d *directives) { d.maxAge = 10 })},
		{"one unreadable of two", []string{"max-age=60, max-age=x"}, with(func(d *directives) { d.maxAge = 0 })},
		{"in another's quotes it is text", []string{`ext="max-age=60, no-store", public`}, with(func(d *directives) { d.flags = flagPublic })},
		{"extensions are ignored", []string{"foo, bar=baz, max-age=60"}, with(func(d *directives) { d.maxAge = 60 })},
		{"a name that only begins like one", []string{"no-storex, max-agex=60"}, newDirectives()},
		{"empty members", []string{" , ,,max-age=60, ,"}, with(func(d *directives) { d.maxAge = 60 })},
		{"qualified no-cache names fields", []string{`no-cache="Set-Cookie, X-User"`}, with(func(d *directives) { d.noCacheFields = []string{"set-cookie", "x-user"} })},
		{"qualified private as a token", []string{"private=X-User"}, with(func(d *directives) { d.privateFields = []string{"x-user"} })},
		{"an unterminated quote restricts as a whole", []string{`no-cache="set-cookie`}, with(func(d *directives) { d.flags = flagNoCache })},
		{"which hides no restriction behind it", []string{`ext="a, no-store, max-age=60`}, with(func(d *directives) { d.maxAge, d.flags = 60, flagNoStore })},
		{"a qualified form that names nothing restricts as a whole", []string{`private="", no-cache=" , "`}, with(func(d *directives) { d.flags = flagPrivate | flagNoCache })},
		{"a restriction with an argument it can't have", []string{"no-store=1"}, with(func(d *directives) { d.flags = flagNoStore })},
		{"a permission with an argument it can't have", []string{"public=1"}, newDirectives()},
		{"max-stale of any age", []string{"max-stale"}, with(func(d *directives) { d.maxStale = anyStale })},
		{"the shorter max-stale", []string{"max-stale, max-stale=5"}, with(func(d *directives) { d.maxStale = 5 })},
		{"the longer min-fresh", []string{"min-fresh=5, min-fresh=9"}, with(func(d *directives) { d.minFresh = 9 })},
		{"RFC 5861", []string{"stale-while-revalidate=7, stale-if-error=8"}, with(func(d *directives) { d.staleWhileRevalidate, d.staleIfError = 7, 8 })},
	} {
		var lines []string
		for _, l := range tt.lines {
			lines = append(lines, "Cache-Control: "+l)
		}
		got, found := parseCacheControl(fields(lines...))
		if !found || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q\n got %+v\nwant %+v", tt.why, tt.lines, got, tt.want)
		}
	}
}

func TestRFC9213_2_1_TargetedField(t *testing.T) {
	for _, tt := range []struct {
		why, value string
		ok         bool
		check      func(d directives) bool
	}{
		{"directives as a Dictionary", "max-age=60, no-cache", true, func(d directives) bool { return d.maxAge == 60 && d.has(flagNoCache) }},
		{"parameters are ignored", "max-age=60;a=1;b", true, func(d directives) bool { return d.maxAge == 60 }},
		{"an unknown member makes it count", "none", true, func(d directives) bool { return d.maxAge == absent }},
		{"a string is no number", `max-age="60"`, true, func(d directives) bool { return d.maxAge == absent }},
		{"a decimal is no integer", "max-age=60.0", true, func(d directives) bool { return d.maxAge == absent }},
		{"a negative number violates the directive", "max-age=-1", true, func(d directives) bool { return d.maxAge == absent }},
		{"the last of two", "max-age=60, max-age=10, max-age=30", true, func(d directives) bool { return d.maxAge == 30 }},
		{"false is absence", "no-store=?0, max-age=5", true, func(d directives) bool { return !d.has(flagNoStore) && d.maxAge == 5 }},
		{"true is presence", "no-store=?1", true, func(d directives) bool { return d.has(flagNoStore) }},
		{"field names are a String", `private="x-user"`, true, func(d directives) bool { return d.strips("x-user") }},
		{"none at all is everything", `private=""`, true, func(d directives) bool { return d.has(flagPrivate) }},
		{"other types are parsed", `a=(1 "b" c;d), e=:aGk=:, f=*tok/x, max-age=1`, true, func(d directives) bool { return d.maxAge == 1 }},
		{"empty", "", false, nil},
		{"upper case keys", "Max-Age=60", false, nil},
		{"a trailing comma", "max-age=60,", false, nil},
		{"no comma", "max-age=60 no-store", false, nil},
		{"white space before =", "max-age =60", false, nil},
		{"an empty value", "max-age=", false, nil},
		{"16 digits", "max-age=1234567890123456", false, nil},
		{"an unterminated string", `a="b`, false, nil},
		{"a bad boolean", "a=?2", false, nil},
		{"an unterminated list", "a=(1 2", false, nil},
	} {
		d, ok := parseTargeted(tt.value)
		if ok != tt.ok || ok && !tt.check(d) {
			t.Errorf("%s: %q: ok %v, %+v", tt.why, tt.value, ok, d)
		}
	}
}

func TestRFC9213_2_2_TargetedFieldReplaces(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct {
		why   string
		lines []string
		ttl   int // seconds; -1: not stored
	}{
		{"longer than Cache-Control", []string{"Cache-Control: no-store", "CDN-Cache-Control: max-age=60"}, 60},
		{"stricter than Cache-Control", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: no-store"}, -1},
		{"unparsable: ignored", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: no-store,"}, 60},
		{"Expires is replaced too", []string{"Expires: Sun, 01 Mar 2026 13:00:00 GMT", "CDN-Cache-Control: none"}, -1},
		{"none of an unparsable field is believed", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: max-age=5, max-age=1.2.3"}, 60},
		{"an empty one is ignored", []string{"Cache-Control: max-age=60", "CDN-Cache-Control:"}, 60},
		{"members that are wrong in type are not there", []string{"Cache-Control: max-age=60", `CDN-Cache-Control: max-age=30, no-store=1, private=?0`}, 30},
		{"a last member of the wrong type", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: max-age=30, max-age=tok"}, -1},
		{"as large as can be", []string{"CDN-Cache-Control: max-age=999999999999999"}, maxDelta},
		{"larger than can be", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: max-age=9999999999999999"}, 60},
		{"upper case is no key", []string{"Cache-Control: max-age=60", "CDN-Cache-Control: Max-Age=30"}, 60},
		{"s-maxage before max-age", []string{"CDN-Cache-Control: max-age=30, s-maxage=20"}, 20},
		{"over several lines", []string{"Cache-Control: no-store", "CDN-Cache-Control: a", "CDN-Cache-Control: max-age=30"}, 30},
	} {
		r := get("/" + strings.ReplaceAll(tt.why, " ", "-"))
		reason := h.store(r, answer(200, tt.lines...), "x")
		if tt.ttl < 0 {
			if reason == ReasonStored {
				t.Errorf("%s: stored", tt.why)
			}
			continue
		}
		if res := h.look(0, r); int(res.TTL.Seconds()) != tt.ttl {
			t.Errorf("%s: ttl %v, want %d s (%v)", tt.why, res.TTL, tt.ttl, reason)
		}
	}
}

func TestRFC9213_2_2_ListOfTargetedFields(t *testing.T) {
	for _, tt := range []struct {
		why    string
		fields []string
		lines  []string
		ttl    int
	}{
		{"the first", []string{"Nearcast-Cache-Control", "CDN-Cache-Control"}, []string{"nearcast-cache-control: max-age=10", "CDN-Cache-Control: max-age=20"}, 10},
		{"in the list's order", []string{"CDN-Cache-Control", "Nearcast-Cache-Control"}, []string{"nearcast-cache-control: max-age=10", "CDN-Cache-Control: max-age=20"}, 20},
		{"the next where the first can't be parsed", []string{"Nearcast-Cache-Control", "CDN-Cache-Control"}, []string{"nearcast-cache-control: max-age=10,", "CDN-Cache-Control: max-age=20"}, 20},
		{"the next where the first is empty", []string{"Nearcast-Cache-Control", "CDN-Cache-Control"}, []string{"nearcast-cache-control:", "CDN-Cache-Control: max-age=20"}, 20},
		{"none that is not listed", []string{"Nearcast-Cache-Control"}, []string{"CDN-Cache-Control: max-age=20"}, 60},
		{"none at all", nil, []string{"CDN-Cache-Control: max-age=20"}, 60},
	} {
		h := newHarness(t)
		h.policy.TargetedFields = tt.fields
		h.store(get("/"), answer(200, append(tt.lines, "Cache-Control: max-age=60")...), "x")
		if res := h.look(0, get("/")); int(res.TTL.Seconds()) != tt.ttl {
			t.Errorf("%s: ttl %v, want %d s", tt.why, res.TTL, tt.ttl)
		}
	}
}

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"max-age=60", `no-cache="a, b", x`, `a="\"`, `private="`, ",,=,\"", "max-age =1", `ext="max-age=1`, "max-stale", "s-maxage=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := parseCacheControl(fields("Cache-Control: " + s))
		for _, n := range []int64{d.maxAge, d.sMaxAge, d.maxStale, d.minFresh, d.staleIfError, d.staleWhileRevalidate} {
			if n < absent || n > maxDelta {
				t.Fatalf("%q: %d is out of bounds", s, n)
			}
		}
		// Whatever follows, a plain no-store in front is heard.
		if d, _ := parseCacheControl(fields("Cache-Control: no-store, " + s)); !d.has(flagNoStore) {
			t.Fatalf("%q: a no-store in front got lost", s)
		}
	})
}

func FuzzTargeted(f *testing.F) {
	for _, s := range []string{"max-age=60;a", `a="b\"c", b`, "a=(1 2;x);y, b=:YQ==:", "a=?1,b=-1.5", "*a=*b", "a,", "a=1 2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dict, ok := parseDictionary(s)
		for _, m := range dict {
			if m.key == "" || m.integer > 999_999_999_999_999 || m.integer < -999_999_999_999_999 {
				t.Fatalf("%q: %+v", s, m)
			}
		}
		if ok && len(dict) > 0 {
			if _, again := parseDictionary(s + ", z"); !again && !strings.HasSuffix(strings.TrimRight(s, " "), "\t") {
				t.Fatalf("%q is valid, and with a member more is not", s)
			}
		}
	})
}
