package cache

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestInspect(t *testing.T) {
	h := newHarness(t)
	r := get("/a", "Accept-Language: de")
	inspect := func(after time.Duration) *Inspection { return h.Inspect(epoch.Add(after), h.key(r), r, h.policy) }
	if got := inspect(0); got.Lookup.Reason != ReasonNotStored || len(got.Stored) != 0 {
		t.Errorf("an empty cache: %+v", got)
	}
	h.store(r, answer(200, "Cache-Control: max-age=60", "Vary: Accept-Language, X-A", `ETag: "1"`, "Surrogate-Key: a b"), "hello")
	en := get("/a", "Accept-Language: en")
	h.store(en, answer(200, "Cache-Control: max-age=5", "Vary: Accept-Language"), "hi")
	got := inspect(10 * time.Second)
	if got.Lookup.Decision != "hit" || len(got.Stored) != 2 || got.Fetches != 0 {
		t.Fatalf("%+v", got)
	}
	other, mine := got.Stored[0], got.Stored[1]
	if !mine.Selected || mine.Age != 10 || mine.TTL != 50 || mine.Lifetime != 60 || mine.Tags != 2 || mine.ETag != `"1"` || mine.Length != 5 || mine.Verdict.Decision != "hit" ||
		len(mine.Vary) != 2 || mine.Vary[0].Value != "de" || !mine.Vary[1].Absent {
		t.Errorf("%+v", mine)
	}
	if other.Selected || other.TTL != -5 || other.Verdict.Reason != ReasonExpired {
		t.Errorf("%+v", other)
	}
	h.PurgeTag(epoch.Add(10*time.Second), "", "a", true)
	if got := inspect(10 * time.Second); got.Lookup.Reason != ReasonPurged || !got.Stored[1].Purged || got.Stored[0].Purged {
		t.Errorf("after a soft purge: %+v", got)
	}
	f, _ := h.Begin(epoch, h.key(r), r)
	if got := inspect(0); got.Fetches != 1 {
		t.Errorf("%d fetches", got.Fetches)
	}
	f.Fail(nil)
	h.PurgeURL(epoch, h.key(r), false)
	b, err := json.Marshal(inspect(0))
	if want := `{"key":"https://shop.example.com/a","lookup":{"decision":"miss","reason":"not stored",`; err != nil || !strings.HasPrefix(string(b), want) || !strings.Contains(string(b), `"stored":[],"on_disk":false,"other_keys":0,"fetches":0,"unshared":false}`) {
		t.Errorf("%v %s", err, b)
	}
}

// TestInspectChangesNothing: it counts as no use, and packed objects stay packed.
func TestInspectChangesNothing(t *testing.T) {
	h := newHarness(t)
	h.policy.Key = KeyRules{Device: true}
	r, mobile := get("/a"), get("/a", "User-Agent: Mobile")
	h.store(r, answer(200, "Cache-Control: max-age=60"), "x")
	h.store(mobile, answer(200, "Cache-Control: max-age=60"), "x")
	used, views := h.budget.used.Load(), h.views.Load()
	got := h.Inspect(epoch, h.key(r), r, h.policy)
	if len(got.Stored) != 1 || got.OtherKeys != 1 || h.budget.used.Load() != used || h.views.Load() != views {
		t.Errorf("%+v, %d bytes and %d views more", got, h.budget.used.Load()-used, h.views.Load()-views)
	}
}
