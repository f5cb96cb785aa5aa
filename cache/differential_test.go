package cache

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/cache/modeltest"
	"nearcast/proxy/message"
)

// These hold our parsers against those of the model, which were written apart and work another way. Where the grammar leaves a value in doubt the
// model says so, and the two need not agree.

func lines(name, value string) message.Fields { return message.Fields{{Name: name, Value: value}} }

func FuzzCacheControlAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		naive, whole := modeltest.CacheControl([]string{s})
		if !whole || strings.ContainsAny(s, "\r\n\x00") { // no front end lets these through
			return
		}
		d, _ := parseCacheControl(lines("cache-control", s))
		for _, x := range naive {
			if x.Bad {
				return
			}
		}
		compareDirectives(t, s, &d, naive)
	})
}

// compareDirectives checks what is not in doubt.
func compareDirectives(t *testing.T, s string, d *directives, naive []modeltest.Directive) {
	t.Helper()
	lives := map[string]int64{"max-age": absent, "s-maxage": absent, "stale-while-revalidate": absent, "stale-if-error": absent}
	for name := range lives {
		for _, x := range naive {
			if x.Name != name {
				continue
			}
			n, _ := modeltest.Delta(x.Value)
			lives[name] = moreRestrictive(lives[name], int64(n/time.Second))
		}
		if got := *d.lifetime(name); got != lives[name] {
			t.Errorf("%q: %s is %d, for the model %d", s, name, got, lives[name])
		}
	}
	for _, x := range flagNames {
		plain := func(n modeltest.Directive) bool { return n.Name == x.name && !n.HasValue }
		any := func(n modeltest.Directive) bool { return n.Name == x.name }
		if slices.ContainsFunc(naive, plain) && !d.has(x.flag) || !slices.ContainsFunc(naive, any) && d.has(x.flag) {
			t.Errorf("%q: %s is %v", s, x.name, d.has(x.flag))
		}
	}
}

func FuzzTargetedAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseTargeted(s)
		naive, valid := modeltest.Targeted([]string{s})
		if ok != valid {
			t.Fatalf("%q: valid %v, for the model %v", s, ok, valid)
		}
		if ok {
			compareDirectives(t, s, &d, naive)
		}
	})
}

func FuzzDateAgainstModel(f *testing.F) {
	for _, s := range dateShapes() {
		f.Add(s)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s, now)
		want, valid := modeltest.Date(s, now)
		if ok != valid || ok && !got.Equal(want) {
			t.Errorf("%q: %v %v, for the model %v %v", s, got, ok, want, valid)
		}
	})
}

func FuzzAgeAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		both := message.Fields{{Name: "age", Value: strings.Trim(a, " \t")}, {Name: "age", Value: b}}
		if got, want := ageValue(both), modeltest.Age(both); got != want {
			t.Errorf("%q: %v, for the model %v", both, got, want)
		}
	})
}

func FuzzRangesAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add("bytes="+s, 100)
	}
	f.Add("BYTES=0-0,-1,5-", 7)
	f.Add("bytes=0-0", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n &= 0xff; s == "" {
			return
		}
		o := &Object{Status: 200, Length: int64(n)}
		ranges, status := ParseRanges(&message.Request{Method: "GET", Fields: lines("range", s)}, o, nil)
		spans, ok := modeltest.Ranges(s, n)
		if ok && strings.Count(s, ",") >= MaxRanges { // more than we take
			return
		}
		want := 206
		if !ok {
			want = 200
		} else if len(spans) == 0 {
			want = 416
		}
		if status != want {
			t.Fatalf("%q of %d: status %d, for the model %d", s, n, status, want)
		}
		for at := range n {
			asked := slices.ContainsFunc(spans, func(x modeltest.Span) bool { return x.First <= at && at <= x.Last })
			given := slices.ContainsFunc(ranges, func(x Range) bool { return x.Start <= int64(at) && int64(at) < x.End })
			if status == 206 && asked != given {
				t.Fatalf("%q of %d: byte %d: asked %v, given %v", s, n, at, asked, given)
			}
		}
	})
}

var tagListRE = regexp.MustCompile(`^(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"(?:[ \t]*,[ \t]*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")*$`)

func FuzzEntityTagsAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add(s, `"a"`)
	}
	f.Add(`"a", W/"b" ,"c,d"`, `W/"c,d"`)
	f.Add(`"a\", "b"`, `"b"`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		if !tagListRE.MatchString(list) || !tagListRE.MatchString(tag) {
			return
		}
		tags, _ := modeltest.Tags([]string{list})
		weak := slices.ContainsFunc(tags, func(x string) bool { return strings.TrimPrefix(x, "W/") == strings.TrimPrefix(tag, "W/") })
		strong := slices.ContainsFunc(tags, func(x string) bool { return modeltest.SameTag(x, tag) })
		have := lines("if-none-match", list)
		if got := tagListed(have, "if-none-match", tag, weakly); got != weak {
			t.Errorf("%q lists %q weakly: %v, for the model %v", list, tag, got, weak)
		}
		if got := tagListed(have, "if-none-match", tag, strongly); got != strong {
			t.Errorf("%q lists %q strongly: %v, for the model %v", list, tag, got, strong)
		}
	})
}

func FuzzVaryAgainstModel(f *testing.F) {
	for _, s := range fieldShapes() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, whole := modeltest.List([]string{s})
		for _, m := range members {
			if !message.IsToken(m) {
				return
			}
		}
		if !whole {
			return
		}
		fields := lines("vary", s)
		names, star := modeltest.VaryNames(fields)
		if got := varyStar(fields); got != star {
			t.Errorf("%q: star %v, for the model %v", s, got, star)
		}
		var got []string
		for _, x := range selectorsOf(fields, &message.Request{}) {
			if x.name != "*" {
				got = append(got, x.name)
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("%q: %q, for the model %q", s, got, names)
		}
	})
}

func FuzzSameOrigin(f *testing.F) {
	for _, s := range append(fieldShapes(), "/b", "b?x=1", "//shop.example/b", "https://shop.example:443/b", "https://SHOP.example/b", "http://shop.example/b", "https://shop.example.evil/b", "https://shop.example@evil/", "https:b", "?x", "#f", "/%zz", "\\b", "https://[::1/") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		r := &message.Request{Scheme: "https", Authority: "shop.example", Target: message.Target{Path: "/a"}}
		to, ok := sameOrigin(r, ref)
		if ok && (to.Path == "" || to.Path[0] != '/') {
			t.Errorf("%q: %+v", ref, to)
		}
		if ok && strings.HasPrefix(ref, "https://") && !strings.HasPrefix(strings.ToLower(ref), "https://shop.example") {
			t.Errorf("%q is taken for the same origin", ref)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range append(fieldShapes(), "1KiB", "64MiB", "2GiB", "8388607TiB", "8388608TiB", "1kB", "1.5MiB", "+1", " 1") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var size, again Size
		if size.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(size.String())); err != nil || again != size || size < 0 {
			t.Errorf("%q: %d, read back as %d: %v", s, size, again, err)
		}
	})
}
