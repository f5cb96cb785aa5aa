package cache

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestRFC9111_4_1_LanguageThatIsPreferredToAllElse(t *testing.T) {
	for _, tt := range []struct {
		why, content, request string
		want                  State
	}{
		{"by weight", "de", "fr;q=0.5, de;q=1.0", Hit},
		{"whatever the case", "de-AT", "en;q=0.1,DE-at;Q=0.9", Hit},
		{"by the default weight", "de", "fr;q=0.999, de", Hit},
		{"alone", "de", "de", Hit},
		{"another one", "de", "fr, de;q=0.9", Miss},
		{"two firsts: the origin weighs", "de", "de, fr", Miss},
		{"a range that only begins so", "de-AT", "de", Miss},
		{"anything", "de", "*, de;q=0.5", Miss},
		{"not wanted", "de", "de;q=0", Miss},
		{"in two languages", "de, en", "de", Miss},
		{"in none that is said", "", "de", Miss},
		{"a weight that is none", "de", "de;q=1.1, fr;q=0.5", Miss},
		{"a weight that can't be read", "de", "de, fr;q=x", Miss},
		{"a parameter", "de", "de;x=1", Miss},
		{"no member", "de", ", ,", Miss},
	} {
		h := newHarness(t)
		lines := []string{"Cache-Control: max-age=60", "Vary: Accept-Language, X-A"}
		if tt.content != "" {
			lines = append(lines, "Content-Language: "+tt.content)
		}
		h.store(get("/", "Accept-Language: en;q=0.9, de;q=0.8, it"), answer(200, lines...), "x")
		if res := h.look(time.Second, get("/", "Accept-Language: "+tt.request)); res.State != tt.want || res.State == Miss && res.Reason != ReasonNoVariant {
			t.Errorf("%s: %v (%v)", tt.why, res.State, res.Reason)
		}
		if h.look(time.Second, get("/", "Accept-Language: "+tt.request, "X-A: 1")).State != Miss {
			t.Errorf("%s: another field is another too", tt.why)
		}
		if res := h.look(61*time.Second, get("/", "Accept-Language: "+tt.request)); res.State != Miss || res.Object != nil {
			t.Errorf("%s: stale, it is %v", tt.why, res.State)
		}
	}
	h := newHarness(t)
	h.store(get("/", "Accept-Language: en, de"), answer(200, "Cache-Control: max-age=60", "Vary: Accept-Language", "Content-Language: de"), "x")
	h.want("a request without", time.Second, get("/"), Miss, ReasonNoVariant)
}

func TestRFC9111_4_1_VaryThatMatchesNothing(t *testing.T) {
	long := strings.Repeat("a, ", maxSelectors)
	for vary, want := range map[string]Reason{
		"*": ReasonVaryStar, "a, *": ReasonVaryStar, ", *,": ReasonVaryStar, "a b": ReasonVaryStar, `"a"`: ReasonVaryStar, "a;b": ReasonVaryStar,
		long + "b": ReasonVaryStar, long: ReasonStored, "": ReasonStored, ",, ,": ReasonStored, "A ,\tb": ReasonStored,
	} {
		h := newHarness(t)
		if got := h.store(get("/"), answer(200, "Cache-Control: max-age=60", "Vary:", "Vary: "+vary), "x"); got != want {
			t.Errorf("%q: %v, want %v", vary, got, want)
		}
	}
}

func FuzzFirstLanguage(f *testing.F) {
	for _, s := range []string{"fr;q=0.5, de;q=1.0", "de;q=1.001", "*;q=0", ";q=1", "a;q=,b", "de ; q=0.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if first := firstLanguage(fields("Accept-Language: " + s)); first == "*" || !strings.Contains(s, first) {
			t.Fatalf("%q: %q", s, first)
		}
	})
}

func TestRFC9111_4_1_Vary(t *testing.T) {
	for _, tt := range []struct {
		why           string
		vary          string
		first, second []string
		same          bool
	}{
		{"another value", "Accept-Language", []string{"Accept-Language: de"}, []string{"Accept-Language: en"}, false},
		{"absence is not emptiness", "Foo", nil, []string{"Foo:"}, false},
		{"absence matches absence", "Foo", nil, nil, true},
		{"lines are combined", "Foo", []string{"Foo: 1, 2"}, []string{"Foo: 1", "Foo: 2"}, true},
		{"white space around commas", "Foo", []string{"Foo: 1,2"}, []string{"Foo:  1 , 2 "}, true},
		{"order matters in an unknown field", "Foo", []string{"Foo: 1, 2"}, []string{"Foo: 2, 1"}, false},
		{"so does case", "Foo", []string{"Foo: a"}, []string{"Foo: A"}, false},
		{"the field's name has no case", "fOO", []string{"Foo: a"}, []string{"Foo: a"}, true},
		{"case in languages does not", "Accept-Language", []string{"Accept-Language: en-US, de;q=0.5"}, []string{"Accept-Language: EN-us,de; Q=0.5"}, true},
		{"order of languages does not", "Accept-Language", []string{"Accept-Language: en, de;q=0.5, fr"}, []string{"Accept-Language: fr,de;q=0.5", "Accept-Language: en"}, true},
		{"nor does how a weight is written", "Accept-Language", []string{"Accept-Language: en-GB;q=1.0, en ; q=0.50"}, []string{"Accept-Language: en;Q=0.5,en-gb"}, true},
		{"a weight does", "Accept-Language", []string{"Accept-Language: en, de;q=0.5"}, []string{"Accept-Language: en, de;q=0.6"}, false},
		{"whose weight it is does", "Accept-Language", []string{"Accept-Language: en, de;q=0.5"}, []string{"Accept-Language: en;q=0.5, de"}, false},
		{"what is no weight is compared as it is", "Accept-Language", []string{"Accept-Language: en;q=2"}, []string{"Accept-Language: en"}, false},
		{"order of encodings does not", "Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: BR,GZIP"}, true},
		{"another encoding does", "Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: gzip"}, false},
		{"a comma in a user agent is no list", "User-Agent", []string{"User-Agent: a, b"}, []string{"User-Agent: a,b"}, false},
		{"every field must match", "Foo, Bar", []string{"Foo: 1", "Bar: 1"}, []string{"Foo: 1", "Bar: 2"}, false},
		{"the sum must not be confused", "Foo, Bar", []string{"Foo: 1,", "Bar: 2"}, []string{"Foo: 1", "Bar: ,2"}, true},
	} {
		h := newHarness(t)
		h.store(get("/", tt.first...), answer(200, "Cache-Control: max-age=60", "Vary: "+tt.vary), "x")
		if tt.same {
			h.want(tt.why, 0, get("/", tt.second...), Hit, ReasonFresh)
		} else {
			h.want(tt.why, 0, get("/", tt.second...), Miss, ReasonNoVariant)
		}
	}
}

func TestRFC9111_4_1_TheNewestVariantServes(t *testing.T) {
	h := newHarness(t)
	h.store(get("/", "Accept: a"), answer(200, "Cache-Control: max-age=5", "Vary: Accept"), "a")
	h.store(get("/", "Accept: b"), answer(200, "Cache-Control: max-age=60", "Vary: Accept"), "b")
	if got := h.body(h.look(0, get("/", "Accept: a")).Object, Whole); got != "a" {
		t.Errorf("variant a serves %q", got)
	}
	later := answer(200, "Cache-Control: max-age=60").at(epoch.Add(10 * time.Second))
	h.store(get("/", "Accept: a"), later, "one for all")
	for _, accept := range []string{"a", "c"} {
		if got := h.body(h.look(11*time.Second, get("/", "Accept: "+accept)).Object, Whole); got != "one for all" {
			t.Errorf("accept %s serves %q: the newest response has no Vary", accept, got)
		}
	}
}

func TestVariantsAreBounded(t *testing.T) {
	h := newHarness(t)
	const n = 3 * maxVariants
	for i := range n {
		h.store(get("/", "Foo: "+strconv.Itoa(i)), answer(200, "Cache-Control: max-age=60", "Vary: Foo"), "x")
	}
	if got := h.objects.Load(); got != maxVariants {
		t.Errorf("%d variants, want %d", got, maxVariants)
	}
	h.want("the newest is there", 0, get("/", "Foo: "+strconv.Itoa(n-1)), Hit, ReasonFresh)
	h.want("the oldest made room", 0, get("/", "Foo: 0"), Miss, ReasonNoVariant)
}

func FuzzVary(f *testing.F) {
	f.Add("gzip, br;q=0.5", "br;q=0.5,gzip", "accept-encoding")
	f.Add("a,,b", "a , b", "foo")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		if name == "" { // of which Vary makes no selector
			return
		}
		norm := func(v string) string {
			return string(appendNormalised(nil, message.Fields{{Name: name, Value: v}}, name))
		}
		sel := reselect([]selector{{name: name}}, &message.Request{Fields: message.Fields{{Name: name, Value: a}}})
		if got := matches(sel, &message.Request{Fields: message.Fields{{Name: name, Value: b}}}); got != (norm(a) == norm(b)) {
			t.Fatalf("matches %v, normal forms %q and %q", got, norm(a), norm(b))
		}
	})
}
