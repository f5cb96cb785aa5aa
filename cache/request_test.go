package cache

import (
	"testing"
	"time"
)

func TestRFC9111_5_2_1_RequestDirectivesIgnored(t *testing.T) {
	h := newHarness(t)
	h.policy.RequestDirectives = DirectivesIgnore
	h.store(get("/"), answer(200, "Cache-Control: max-age=60"), "x")
	for _, line := range []string{"Cache-Control: no-cache", "Cache-Control: max-age=0", "Cache-Control: min-fresh=100", "Pragma: no-cache"} {
		h.want(line, 10*time.Second, get("/", line), Hit, ReasonFresh)
	}
	h.want("max-stale", 70*time.Second, get("/", "Cache-Control: max-stale"), Stale, ReasonExpired)
	h.want("only-if-cached", 70*time.Second, get("/", "Cache-Control: only-if-cached"), OnlyIfCached, ReasonOnlyIfCached)
	h.want("no-store", 70*time.Second, get("/", "Cache-Control: no-store"), Bypass, ReasonRequestNoStore)
	if got := h.store(get("/b", "Cache-Control: no-store"), answer(200, "Cache-Control: max-age=60"), "x"); got != ReasonRequestNoStore {
		t.Errorf("no-store: %v", got)
	}
}

func TestIgnoredReloadsJoinWhatArrives(t *testing.T) {
	h := newHarness(t)
	r := get("/", "Cache-Control: no-cache", "Pragma: no-cache", "X-A: 1")
	if h.policy.Asked(r) != r {
		t.Error("honoured, a request is judged as it is")
	}
	f, _ := h.Begin(epoch, h.key(r), get("/"))
	f.Respond(get("/"), answer(200, "Cache-Control: max-age=60"), h.policy)
	h.policy.RequestDirectives = DirectivesIgnore
	asked := h.policy.Asked(r)
	if asked.Fields.Has("cache-control") || asked.Fields.Has("pragma") || !asked.Fields.Has("x-a") || !r.Fields.Has("cache-control") {
		t.Errorf("judged as %v, sent as %v", asked.Fields, r.Fields)
	}
	if _, leader := h.Begin(epoch, h.key(r), asked); leader {
		t.Error("a reload makes a fetch of its own although it is ignored")
	}
	if plain := get("/"); h.policy.Asked(plain) != plain {
		t.Error("without directives there is nothing to take away")
	}
}
