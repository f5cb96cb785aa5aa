package cache

import (
	"testing"
	"time"
)

// TestPurgesFindKeysThatRulesMade: by URL and prefix what a service's rules keep under other keys is found, too.
func TestPurgesFindKeysThatRulesMade(t *testing.T) {
	rules := map[string]KeyRules{
		"none": {}, "host ignored": {IgnoreHost: true}, "scheme ignored": {IgnoreScheme: true}, "both ignored": {IgnoreHost: true, IgnoreScheme: true},
		"a field": {Headers: []string{"x-currency"}}, "a field, without host": {Headers: []string{"x-currency"}, IgnoreHost: true},
		"sorted": {Query: QueryRules{Mode: QueryAll, Sort: true}}, "no query": {Query: QueryRules{Mode: QueryNone}},
	}
	for name, k := range rules {
		for _, soft := range []bool{false, true} {
			for why, purge := range map[string]func(h harness) Purged{
				"url": func(h harness) Purged {
					return h.PurgeURL(epoch, h.policy.KeyOf("shop", get("/img/a?y=2&x=1"), nil), soft)
				},
				"prefix": func(h harness) Purged {
					p, err := h.PurgePrefix(epoch, "", "https://shop.example.com/img/", soft)
					if err != nil {
						t.Fatal(err)
					}
					return p
				},
				"other prefix": func(h harness) Purged {
					p, _ := h.PurgePrefix(epoch, "", "https://shop.example.com/js/", soft)
					return p
				},
			} {
				h := newHarness(t)
				h.policy.Key = k
				for _, currency := range []string{"EUR", "USD"} {
					r := get("/img/a?y=2&x=1", "X-Currency: "+currency)
					key := h.policy.KeyOf("shop", r, nil)
					f, leader := h.Begin(epoch, key, r)
					if !leader || f.obj != nil {
						continue
					}
					w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
					w.Commit(nil)
				}
				objects := h.objects.Load()
				if p := purge(h); why == "url" && p.Objects != objects {
					t.Errorf("%s: %d objects, of %d", name, p.Objects, objects)
				}
				for _, currency := range []string{"EUR", "USD"} {
					r := get("/img/a?y=2&x=1", "X-Currency: "+currency)
					res := h.Lookup(epoch.Add(time.Second), h.policy.KeyOf("shop", r, nil), r, h.policy)
					if want := why == "other prefix"; (res.State == Hit) != want || soft && res.State == Miss {
						t.Errorf("%s by %s, soft %t: %v for %s", name, why, soft, res.State, currency)
					}
				}
			}
		}
	}
}

// RFC 9111 §4.3.5: an answer to HEAD updates what is stored; it does not say that what was purged is current.
func TestAHEADAfterASoftPurgeLeavesItStale(t *testing.T) {
	h := newHarness(t)
	r, head := get("/a"), request("HEAD", "/a")
	h.store(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red"), "x")
	byTag("", "red")(h.Cache, epoch, true)
	f, _ := h.Begin(epoch.Add(time.Second), h.key(head), head)
	resp := answer(200, "Cache-Control: max-age=60").at(epoch.Add(time.Second))
	resp.Length = 1
	f.Respond(head, resp, h.policy)
	h.want("after HEAD", 2*time.Second, r, Stale, ReasonPurged)
}
