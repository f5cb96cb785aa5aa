package cache

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestEveryReasonIsExplained(t *testing.T) {
	for r := range reasonCount {
		if r.Meaning() == "" || !strings.HasSuffix(r.Meaning(), ".") || strings.Count(r.Meaning(), ". ") > 0 {
			t.Errorf("%v: the meaning is one sentence, not %q", r, r.Meaning())
		}
		if s := r.Section(); s != ofConfig && !strings.HasPrefix(s, "RFC ") {
			t.Errorf("%v is from %q", r, s)
		}
		if c := r.Change(); c != "" && !strings.HasSuffix(c, ".") {
			t.Errorf("%v: %q", r, c)
		}
	}
	if r := Reason(255); r.Meaning() != "" || r.String() != "unknown" {
		t.Error("no such reason")
	}
}

// cases are requests and responses for which rules of all kinds decide.
func explainCases() (requests []*message.Request, responses []Response, policies []*Policy) {
	for _, lines := range [][]string{nil, {"Cache-Control: no-cache"}, {"Cache-Control: no-store"}, {"Cache-Control: only-if-cached"}, {"Cache-Control: max-age=5"}, {"Cache-Control: min-fresh=50"},
		{"Cache-Control: max-stale"}, {"Pragma: no-cache"}, {"Authorization: x"}, {"Range: bytes=0-1"}, {"If-None-Match: \"1\""}, {"If-Match: \"2\""}, {"Accept-Language: de"}} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			requests = append(requests, request(method, "/a?utm_x=1", lines...))
		}
	}
	for _, status := range []int{200, 206, 302, 404, 425, 503, 299} {
		for _, lines := range [][]string{nil, {"Cache-Control: max-age=60"}, {"Cache-Control: s-maxage=20, stale-while-revalidate=60", "Age: 10"}, {"Cache-Control: no-store"}, {"Cache-Control: private"},
			{"Cache-Control: no-cache", "ETag: \"1\""}, {"Cache-Control: no-cache"}, {"Cache-Control: public"}, {"Cache-Control: max-age=1, stale-while-revalidate=60"}, {"Cache-Control: max-age=60, must-understand, no-store"},
			{"Expires: Sun, 01 Mar 2026 12:00:30 GMT"}, {"Expires: 0"}, {"Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"}, {"Cache-Control: max-age=60", "Vary: *"}, {"Cache-Control: max-age=60", "Vary: Accept-Language, X"},
			{"Set-Cookie: a=b", "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"}, {"Set-Cookie: a=b", "Cache-Control: max-age=9"}, {"CDN-Cache-Control: max-age=30", "Cache-Control: no-store"}} {
			resp := answer(status, lines...)
			responses = append(responses, resp)
			resp.Length = 2 << 20
			responses = append(responses, resp)
		}
	}
	off, negative, refuse := on(), on(), on()
	off.Enabled = false
	negative.Negative, negative.DefaultTTL, negative.StaleIfError = NegativeTTLs{"4xx": 5 * time.Second, "5xx": time.Second}, 7*time.Second, time.Minute
	negative.Key = KeyRules{Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*"}}}
	refuse.SetCookie = CookieRefuse
	return requests, responses, []*Policy{on(), off, negative, refuse}
}

func TestAnExplanationIsTheDecision(t *testing.T) {
	requests, responses, policies := explainCases()
	cfg := Config{Memory: 4 << 20, MaxObject: 1 << 20}
	seen, states := map[Reason]bool{}, map[string]bool{}
	n := 0
	for _, p := range policies {
		for _, r := range requests {
			for _, resp := range responses {
				for _, after := range []time.Duration{0, 3 * time.Second, 25 * time.Second, time.Hour} {
					if n++; n%101 != 0 { // all of them take a minute
						continue
					}
					e := Explain(&Question{Service: "shop", Request: r, Response: resp, Policy: p, Config: cfg, After: after})
					seen[e.Store.Reason], seen[e.Again.Reason], states[e.Again.Decision] = true, true, true
					checkExplanation(t, e, r, resp, p, cfg, after)
				}
			}
		}
	}
	for _, r := range []Reason{ReasonHead, ReasonMethod, ReasonDisabled, ReasonRequestNoStore, ReasonPartial, ReasonStatus, ReasonNoStore, ReasonPrivate, ReasonAuthorization, ReasonVaryStar, ReasonSetCookie,
		ReasonNoFreshness, ReasonTooLarge, ReasonStored, ReasonFresh, ReasonExpired, ReasonNoCache, ReasonRequestNoCache, ReasonRequestMaxAge, ReasonRequestMinFresh, ReasonMaxStale, ReasonOnlyIfCached} {
		if !seen[r] {
			t.Errorf("no case for %v", r)
		}
	}
	if len(states) < 4 {
		t.Errorf("only %v", states)
	}
}

// checkExplanation compares it with what a cache does that knows nothing of explaining.
func checkExplanation(t *testing.T, e *Explanation, r *message.Request, resp Response, p *Policy, cfg Config, after time.Duration) {
	t.Helper()
	h := harness{t, New(cfg, nil), p}
	first := h.look(0, r)
	reason := first.Reason
	if first.State == Miss {
		_, _, want := storable(r, &resp, p)
		short := resp
		short.Length = min(short.Length, -1)
		if want == ReasonStored && resp.Length > int64(cfg.MaxObject) {
			want = ReasonTooLarge
		} else if reason = h.store(r, short, ""); reason != want {
			t.Fatalf("stored: %v, storable: %v", reason, want)
		}
		reason = want
	}
	again := h.look(after, r)
	stored := reason == ReasonStored
	switch {
	case e.Store.Reason != reason, (e.Store.Decision == "stored") != stored, (e.Freshness != nil) != stored,
		e.First.Decision != first.State.String(), e.Again.Decision != again.State.String(), e.Again.Reason != again.Reason, e.Key != h.key(r).String():
		t.Fatalf("%s %v\n%d %v\nafter %v: explained as %+v\ndecided: %v %v, %v, %v %v", r.Method, r.Fields, resp.Status, resp.Fields, after, e, first.State, first.Reason, reason, again.State, again.Reason)
	case first.State == Miss && !stored:
		last := e.Store.Rules[len(e.Store.Rules)-1]
		if !last.Decided || last.Reason != reason {
			t.Fatalf("%v was decided by %+v", reason, last)
		}
	}
	for i, rule := range e.Store.Rules {
		if rule.Decided && i < len(e.Store.Rules)-1 {
			t.Fatalf("a rule decided, and others were tried: %+v", e.Store.Rules)
		}
	}
	if again.Object != nil {
		if f := e.Freshness; f.TTL != floorSeconds(again.Object.TTL(epoch)) || f.Lifetime-f.Age != f.TTL || f.Validate != again.Object.noCache {
			t.Fatalf("%+v, and the object's TTL is %v", f, again.Object.TTL(epoch))
		}
	}
}

// reasonsOf are the reasons that rules have, each once.
func reasonsOf(all ...[]storingRule) map[Reason]bool {
	found := map[Reason]bool{}
	for _, rules := range all {
		for i := range rules {
			found[rules[i].reason] = true
		}
	}
	return found
}

func TestAnExplanationSaysItAll(t *testing.T) {
	p := on()
	p.Key = KeyRules{Device: true, Query: QueryRules{Mode: QueryDeny, Names: []string{"utm_*"}}}
	var cfg Config
	cfg.SetDefaults()
	e := Explain(&Question{Service: "shop", Request: get("/a?utm_x=1&b=2", "Accept-Language: de"), Policy: p, Config: cfg, After: 45 * time.Second,
		Response: answer(200, "Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=90", "Age: 10", "Vary: Accept-Language, X-Tier")})
	want := Explanation{Key: "https://shop.example.com/a?b=2 device=desktop", CacheStatus: "nearcast; hit; ttl=5",
		First: verdict("miss", ReasonNotStored), Store: e.Store, Again: verdict("hit", ReasonFresh),
		Freshness: &FreshnessTerms{Source: "max-age", Lifetime: 60, Age: 10, TTL: 50, StaleWhileRevalidate: 30, StaleIfError: 90, StaleOnDisconnect: 86400},
		Vary:      []VaryField{{"accept-language", "de", false}, {"x-tier", "", true}}}
	if !reflect.DeepEqual(*e, want) || e.Store.Decision != "stored" || len(e.Store.Rules) != len(reasonsOf(forbidding, wanting)) {
		t.Errorf("got  %+v\nwant %+v", *e, want)
	}
	text, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(text), `"store":{"decision":"stored","reason":"stored","meaning":"The response is stored.","section":"RFC 9111 §3","rules":[{"reason":"head","section":"RFC 9111 §3","decided":false}`) {
		t.Errorf("%s %v", text, err)
	}
	past := Explain(&Question{Service: "shop", Request: get("/a"), Policy: p, Config: cfg, Past: ReasonMethod, Response: answer(200, "Cache-Control: max-age=60")})
	if past.First.Decision != "bypass" || past.Again.Reason != ReasonMethod || past.Store.Decision != "not stored" {
		t.Errorf("%+v", past)
	}
}

func TestLifetimeSources(t *testing.T) {
	p := &Policy{DefaultTTL: time.Second, Negative: NegativeTTLs{"404": time.Second}, TargetedFields: on().TargetedFields}
	for i := range sourceWords {
		if sourceWords[i] == "" {
			t.Errorf("source %d has no word", i)
		}
	}
	for want, resp := range map[lifetimeSource]Response{
		fromSMaxAge: answer(200, "Cache-Control: max-age=1, s-maxage=2"), fromMaxAge: answer(200, "Cache-Control: max-age=1", "Expires: 0"), fromExpires: answer(404, "Expires: 0"),
		fromNegative: answer(404, "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"), fromLastModified: answer(200, "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"), fromDefault: answer(200), fromNothing: answer(302),
	} {
		if got := newStoring(get("/"), &resp, p).from; got != want {
			t.Errorf("%d %v: %s, want %s", resp.Status, resp.Fields, sourceWords[got], sourceWords[want])
		}
	}
}

// TestEachReasonIsTriedOnce: rules that share one would read as if it were passed and decided.
func TestEachReasonIsTriedOnce(t *testing.T) {
	for _, lines := range [][]string{{"Set-Cookie: a=b"}, nil} {
		r, resp := get("/"), answer(200, lines...)
		tried := newStoring(r, &resp, on()).tried()
		seen := map[Reason]bool{}
		for _, rule := range tried {
			if seen[rule.Reason] {
				t.Errorf("%q: %v twice", lines, rule.Reason)
			}
			seen[rule.Reason] = true
		}
		if last := tried[len(tried)-1]; !last.Decided {
			t.Errorf("%q: %+v", lines, last)
		}
	}
}
