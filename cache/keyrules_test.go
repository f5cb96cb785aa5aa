package cache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestQueryRules(t *testing.T) {
	deny := QueryRules{Mode: QueryDeny, Names: []string{"utm_*", "fbclid"}}
	allow := QueryRules{Mode: QueryAllow, Names: []string{"page", "f_*"}}
	for _, tt := range []struct {
		why         string
		rules       QueryRules
		query, want string
	}{
		{"no part", QueryRules{Mode: QueryNone}, "a=1&b;c", ""},
		{"denied names go", deny, "utm_source=x&a=1&fbclid=2&b=2", "a=1&b=2"},
		{"whatever their escapes", deny, "utm%5Fsource=x&%66bclid=2&a=1", "a=1"},
		{"and without a value", deny, "fbclid&utm_", ""},
		{"a longer name is another", deny, "fbclidx=1&utm=2", "fbclidx=1&utm=2"},
		{"a denied name counts with its case", deny, "FBCLID=1", "FBCLID=1"},
		{"some origins see b=evil here", deny, "utm_x=1;b=evil", "utm_x=1;b=evil"},
		{"a broken escape stays", deny, "fbclid=%zz&utm_a%=1", "fbclid=%zz&utm_a%=1"},
		{"empty parameters are none", deny, "&&a=1&&fbclid=1&", "a=1"},
		{"values stay as written", deny, "a=%41&a=A", "a=%41&a=A"},
		{"allowed names stay", allow, "a=1&page=2&f_x=3&z", "page=2&f_x=3"},
		{"as the most lenient origin reads them", allow, "PAGE=1&pag%65=2&page[]=3&f.x=4&f%20x=5&page%5Ba%5D=6&page%00=7", "PAGE=1&pag%65=2&page[]=3&f.x=4&f%20x=5&page%5Ba%5D=6&page%00=7"},
		{"others go", allow, "pages=1&pag=2&xpage=3", ""},
		{"sorted, stable", QueryRules{Sort: true}, "b=2&a=2&b=1&a=1&aa=0&=x", "=x&a=2&a=1&aa=0&b=2&b=1"},
		{"names that are one to some origin keep their order", QueryRules{Sort: true}, "b=0&%61=1&a=2&A=3&a[]=4", "%61=1&a=2&A=3&a[]=4&b=0"},
		{"and so do all when it is not clear what they are", QueryRules{Sort: true}, "b=1&a=1;c=2", "b=1&a=1;c=2"},
		{"too many", QueryRules{Sort: true}, "b&" + strings.Repeat("a&", 64) + "a", "b&" + strings.Repeat("a&", 64) + "a"},
		{"denied and sorted", QueryRules{Mode: QueryDeny, Names: []string{"x"}, Sort: true}, "c=1&x=1&b=1", "b=1&c=1"},
	} {
		if got := string(appendQuery([]byte("before?"), tt.query, &tt.rules)); got != "before?"+tt.want {
			t.Errorf("%s: %q gives %q, want %q", tt.why, tt.query, got, tt.want)
		}
	}
}

func TestKeyRules(t *testing.T) {
	req := func(url string, lines ...string) *message.Request {
		scheme, rest, _ := strings.Cut(url, "://")
		host, path, _ := strings.Cut(rest, "/")
		r := get("/"+path, lines...)
		r.Scheme, r.Authority = scheme, host
		return r
	}
	for _, tt := range []struct {
		why   string
		rules KeyRules
		a, b  *message.Request
		same  bool
		text  string // of a; "" is not compared
	}{
		{"no rules", KeyRules{}, req("https://h/a?x"), req("https://h/a?x"), true, "https://h/a?x"},
		{"host", KeyRules{}, req("https://h/a"), req("https://i/a"), false, ""},
		{"ignored host", KeyRules{IgnoreHost: true}, req("https://h/a"), req("https://i/a"), true, "https:///a"},
		{"scheme", KeyRules{IgnoreHost: true}, req("https://h/a"), req("http://h/a"), false, ""},
		{"ignored scheme", KeyRules{IgnoreScheme: true}, req("https://h/a"), req("http://h:80/a"), true, ""},
		{"an emptied query is none", KeyRules{Query: QueryRules{Mode: QueryNone}}, req("https://h/a?x=1"), req("https://h/a"), true, "https://h/a"},
		{"so is an empty one", KeyRules{Query: QueryRules{Mode: QueryNone}}, req("https://h/a?"), req("https://h/a"), true, ""},
		{"without rules it is not", KeyRules{Device: true}, req("https://h/a?"), req("https://h/a"), false, "https://h/a? device=desktop"},
		{"a field", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-Tier: gold"), req("https://h/a", "X-Tier: tin"), false, "https://h/a x-tier=gold"},
		{"its white space", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-Tier: a ,b"), req("https://h/a", "X-Tier: a", "X-Tier: b"), true, "https://h/a x-tier=a,b"},
		{"absent is not empty", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-Tier:"), req("https://h/a"), false, ""},
		{"other fields", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-B: 1"), req("https://h/a"), true, "https://h/a x-tier"},
		{"values don't run together", KeyRules{Headers: []string{"a", "b"}}, req("https://h/a", "A: 1b"), req("https://h/a", "A: 1", "B:"), false, ""},
		{"a cookie", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: id=7; cur=EUR"), req("https://h/a", "Cookie: cur=EUR", "Cookie: id=8"), true, "https://h/a cookie:cur=EUR"},
		{"another value", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: cur=EUR"), req("https://h/a", "Cookie: cur=USD"), false, ""},
		{"an empty cookie", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: cur="), req("https://h/a", "Cookie: x"), false, ""},
		{"a cookie's case: some origins don't mind it", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: CUR=EUR"), req("https://h/a"), false, ""},
		{"white space around its name", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: a; cur =EUR"), req("https://h/a"), false, ""},
		{"a member of an array", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: cur[x]=EUR"), req("https://h/a"), false, ""},
		{"other characters for an underscore", KeyRules{Cookies: []string{"my_cur"}}, req("https://h/a", "Cookie: my.cur=EUR"), req("https://h/a"), false, ""},
		{"an escaped name", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: c%75r=EUR"), req("https://h/a"), false, ""},
		{"behind a comma", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: a=b, cur=EUR"), req("https://h/a"), false, ""},
		{"in quotes that some origins mind", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", `Cookie: a="b; cur=EUR"`), req("https://h/a", "Cookie: cur=EUR"), false, ""},
		{"and quotes that end are a value like others", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", `Cookie: a="b"; cur=EUR`), req("https://h/a", "Cookie: cur=EUR"), true, ""},
		{"not read as the cookie: it is the second time", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: cur=EUR=USD"), req("https://h/a", "Cookie: cur=EUR; cur=USD"), false, ""},
		{"a longer name is another cookie", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: curr=EUR; xcur=1"), req("https://h/a"), true, "https://h/a cookie:cur"},
		{"a field with an underscore is the same to many servers", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X_Tier: gold"), req("https://h/a"), false, ""},
		{"and not the same to others", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X_Tier: gold"), req("https://h/a", "X-Tier: gold"), false, ""},
		{"an empty member: it may be no list", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-Tier: ,gold"), req("https://h/a", "X-Tier: gold"), false, ""},
		{"at the end too", KeyRules{Headers: []string{"x-tier"}}, req("https://h/a", "X-Tier: gold,"), req("https://h/a", "X-Tier: gold"), false, ""},
		{"twice: which one the origin takes is its affair", KeyRules{Cookies: []string{"cur"}}, req("https://h/a", "Cookie: cur=EUR; cur=USD"), req("https://h/a", "Cookie: cur=EUR"), false, ""},
		{"device", KeyRules{Device: true}, req("https://h/a", "Sec-CH-UA-Mobile: ?1"), req("https://h/a", "User-Agent: x Mobile"), true, "https://h/a device=mobile"},
		{"a query is no cookie", KeyRules{Cookies: []string{"c"}}, req("https://h/a?c=1"), req("https://h/a", "Cookie: c=1"), false, ""},
	} {
		p := &Policy{Key: tt.rules}
		var buf KeyBuffer
		a, b := p.KeyOf("shop", tt.a, &buf), p.KeyOf("shop", tt.b, nil)
		if (a == b) != tt.same {
			t.Errorf("%s: %q and %q", tt.why, a, b)
		}
		if tt.text != "" && a.String() != tt.text {
			t.Errorf("%s: %q, want %q", tt.why, a, tt.text)
		}
		if c := a.clone(); c != a || a.hash(seed) != c.hash(seed) {
			t.Errorf("%s: a copy of %q is another key", tt.why, a)
		}
	}
}

var seed = newCache(1<<20, 1<<10).seed

func TestDeviceClass(t *testing.T) {
	for want, all := range map[string][]string{
		"desktop": {"", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Sec-CH-UA-Mobile: ?0",
			"User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
			"User-Agent: " + strings.Repeat("x", 512) + " Mobile"},
		"mobile": {"Sec-CH-UA-Mobile: ?1", "User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36",
			"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"},
		"tablet": {"User-Agent: Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Version/12.1 Mobile/15E148 Safari/604.1",
			"User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
			"User-Agent: Mozilla/5.0 (Android 15; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0"},
	} {
		for _, line := range all {
			if got := DeviceClass(fields(line)); got != want {
				t.Errorf("%s: %s, want %s", line, got, want)
			}
		}
	}
}

func TestKeyRulesValidate(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("n%d", i)
	}
	for _, tt := range []struct {
		rules KeyRules
		want  string
	}{
		{KeyRules{}, ""},
		{KeyRules{Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*", "a b", "x[]"}, Sort: true}, Headers: []string{"accept-language"}, Cookies: []string{"Cur"}, Device: true}, ""},
		{KeyRules{Query: QueryRules{Mode: QueryAllow}}, "query.names"},
		{KeyRules{Query: QueryRules{Names: []string{"a"}}}, "query.names"},
		{KeyRules{Query: QueryRules{Mode: QueryNone, Sort: true}}, "query.sort"},
		{KeyRules{Query: QueryRules{Mode: QueryDeny, Names: many}}, "query.names"},
		{KeyRules{Query: QueryRules{Mode: QueryDeny, Names: []string{"", "*", "a*b", "*a", "a=b", "a;b", "%61", "ok", "ok"}}},
			"query.names[0] query.names[1] query.names[2] query.names[3] query.names[4] query.names[5] query.names[6] query.names[8]"},
		{KeyRules{Headers: many[:17], Cookies: many[:17]}, "headers cookies"},
		{KeyRules{Headers: []string{"Cookie", "cookie", "a b", "host", "authorization", "accept-encoding", "range", "x-forwarded-proto", "x-device-class"}},
			"headers[0] headers[1] headers[2] headers[3] headers[4] headers[5] headers[6] headers[7] headers[8]"},
		{KeyRules{Cookies: []string{"a=b", "", "c", "c"}}, "cookies[0] cookies[1] cookies[3]"},
	} {
		var keys []string
		tt.rules.Validate(func(key, fault string) {
			if fault == "" {
				t.Errorf("%s: no fault named", key)
			}
			keys = append(keys, key)
		})
		if got := strings.Join(keys, " "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.rules, got, tt.want)
		}
	}
	var m QueryMode
	if err := m.UnmarshalText([]byte("deny")); err != nil || m != QueryDeny || m.String() != "deny" {
		t.Errorf("%v %v", m, err)
	}
	if err := m.UnmarshalText([]byte("some")); err == nil {
		t.Error("some is no mode")
	}
	unread := KeyRules{Query: QueryRules{Mode: m, Names: []string{"a"}}}
	unread.Validate(func(key, fault string) { t.Errorf("what is wrong is the mode, not %s: %s", key, fault) })
}

// TestRFC9111_4_4_InvalidationKnowsTheKeyRules: an unsafe request, and a purge, concern all that is stored of a URL.
func TestRFC9111_4_4_InvalidationKnowsTheKeyRules(t *testing.T) {
	h := newHarness(t)
	h.policy.Key = KeyRules{IgnoreHost: true, Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*"}}, Headers: []string{"x-tier"}, Device: true}
	all := []*message.Request{get("/a?b=1"), get("/a?b=1", "X-Tier: gold"), get("/a?b=1", "User-Agent: Mobile"), get("/a?b=1", "X-Tier: tin", "User-Agent: iPad")}
	fill := func() {
		for _, r := range all {
			if reason := h.store(r, answer(200, "Cache-Control: max-age=60"), "x"); reason != ReasonStored {
				t.Fatal(reason)
			}
		}
		h.want("with another unkeyed parameter", 0, get("/a?utm_a=1&b=1"), Hit, ReasonFresh)
		if got := h.objects.Load(); got != 4 {
			t.Fatalf("%d objects", got)
		}
	}
	fill()
	other := request("POST", "/a?utm_b=2&b=1")
	other.Authority = "www.example.com"
	h.Invalidate("shop", other, h.policy, 200, nil)
	for _, r := range all {
		h.want("after an unsafe request to another of its names", 0, r, Miss, ReasonNotStored)
	}
	fill()
	late, _ := h.Begin(epoch, h.key(get("/a?b=1", "X-Tier: late")), get("/a?b=1", "X-Tier: late"))
	w, _ := late.Respond(get("/a?b=1", "X-Tier: late"), answer(200, "Cache-Control: max-age=60"), h.policy)
	if !h.Purge(h.key(all[2])) || h.objects.Load() != 0 {
		t.Errorf("%d objects after a purge by one of its keys", h.objects.Load())
	}
	if f, leader := h.Begin(epoch, h.key(get("/a?b=1", "X-Tier: late")), get("/a?b=1", "X-Tier: late")); !leader {
		t.Error("a fill from before the purge takes more requests")
	} else {
		f.Fail(nil)
	}
	if reason := w.Commit(nil); reason != ReasonInvalidated {
		t.Errorf("what was on its way: %v", reason)
	}
	for i := range h.shards {
		if len(h.shards[i].kin.keys) != 0 || h.shards[i].kin.count != 0 {
			t.Errorf("left in the index: %v", h.shards[i].kin)
		}
	}
}

func TestTheKeysOfOneURLAreBounded(t *testing.T) {
	h := newHarness(t)
	h.policy.Key = KeyRules{Headers: []string{"x-n"}}
	for i := range maxKin + 10 {
		h.store(get("/a", fmt.Sprintf("X-N: %d", i)), answer(200, "Cache-Control: max-age=60"), "")
	}
	if got := h.objects.Load(); got != maxKin {
		t.Errorf("%d objects, want %d", got, maxKin)
	}
	h.want("the oldest", time.Second, get("/a", "X-N: 9"), Miss, ReasonNotStored)
	h.want("the next", time.Second, get("/a", "X-N: 10"), Hit, ReasonFresh)
}

func TestKeysOfOneURLShareWhereAPurgeLooks(t *testing.T) {
	for i := range 200 {
		k := KeyOf("shop", get(fmt.Sprintf("/%d?x", i)))
		kin := k
		kin.query, kin.selected = kin.query+"\x00device=mobile", true
		a, b := k.hash(seed), kin.hash(seed)
		if a == b || a%shardCount != b%shardCount || a>>32%purgeSlots != b>>32%purgeSlots {
			t.Fatalf("%x and %x", a, b)
		}
	}
}

func TestAKeyWithRulesAllocatesNothing(t *testing.T) {
	p := &Policy{Key: KeyRules{Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*", "fbclid"}, Sort: true}, Headers: []string{"accept-language"}, Cookies: []string{"cur"}, Device: true}}
	r := get("/a?utm_source=mail&b=2&a=1", "Accept-Language: en, de", "Cookie: a=b; cur=EUR", "User-Agent: Mozilla/5.0 Mobile")
	var buf KeyBuffer
	p.KeyOf("shop", r, &buf)
	if n := testing.AllocsPerRun(100, func() { p.KeyOf("shop", r, &buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAppendQuery(f *testing.F) {
	for _, s := range []string{"", "a=1&b=2", "utm_x=1;a=2", "%61=1&a=2&A=3", "a[]=1&a%5B%5D=2&a.b=3", "&&=&%", "%00=1&a%00b", "b&a&b=1&a=2", "utm%5f=1&+a=2"} {
		f.Add(s, "utm_*")
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		if checkParameter(name) != nil {
			return
		}
		for mode := range QueryMode(len(queryModes)) {
			for _, sort := range []bool{false, true} {
				rules := QueryRules{Mode: mode, Names: []string{name}, Sort: sort}
				once := string(appendQuery(nil, query, &rules))
				if twice := string(appendQuery(nil, once, &rules)); twice != once {
					t.Fatalf("%v %v: %q gives %q, and that %q", mode, sort, query, once, twice)
				}
				if len(once) > len(query) {
					t.Fatalf("%q grew to %q", query, once)
				}
				if mode == QueryAll && !sort {
					continue
				}
				for p := range strings.SplitSeq(query, "&") { // nothing but what the rules name is lost
					if kept := strings.Contains("&"+once+"&", "&"+p+"&"); p != "" && kept != rules.keeps(p) && mode != QueryNone {
						t.Fatalf("%v %q: of %q, kept is %v", mode, name, p, kept)
					}
				}
			}
		}
	})
}

// FuzzCookieKey: a key says that a cookie is absent only when no origin finds it, however it reads the field.
func FuzzCookieKey(f *testing.F) {
	for _, s := range []string{"cur=EUR", "a=b; CUR=EUR", `a="b; cur=EUR"; c`, "a=b,cur=1", "cur[]=1", "cur", "c%75r=1;cur%", "cur =1", "=cur; cur%00=1"} {
		f.Add(s)
	}
	rules := KeyRules{Cookies: []string{"cur"}}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.IndexByte(s, 0) >= 0 {
			return
		}
		if key := string(rules.appendSelected(nil, message.Fields{{Name: "cookie", Value: s}})); key != "\x00cookie:cur" {
			return
		}
		readings := strings.FieldsFunc(s, func(r rune) bool { return r == ';' || r == ',' })
		if c, err := http.ParseCookie(s); err == nil {
			for _, c := range c {
				readings = append(readings, c.Name+"=")
			}
		}
		for _, p := range readings {
			if name, _, ok := strings.Cut(p, "="); ok && strings.EqualFold(strings.Trim(name, " \t"), "cur") {
				t.Fatalf("%q has %q", s, p)
			}
		}
	})
}

func BenchmarkKeyOf(b *testing.B) {
	r := get("/a/path/of/some/length?utm_source=mail&b=2&a=1")
	for name, rules := range map[string]KeyRules{"plain": {}, "deny": {Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*", "fbclid", "gclid"}}}} {
		b.Run(name, func(b *testing.B) {
			p, buf := &Policy{Key: rules}, KeyBuffer{}
			b.ReportAllocs()
			for b.Loop() {
				k := p.KeyOf("shop", r, &buf)
				k.hash(seed)
			}
		})
	}
}
