package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// purgeNow is a purge as a test asks for it.
type purgeNow func(c *Cache, at time.Time, soft bool) error

func byTag(service, tag string) purgeNow {
	return func(c *Cache, at time.Time, soft bool) error {
		_, err := c.PurgeTag(at, service, tag, soft)
		return err
	}
}

func byPrefix(service, prefix string) purgeNow {
	return func(c *Cache, at time.Time, soft bool) error {
		_, err := c.PurgePrefix(at, service, prefix, soft)
		return err
	}
}

func byURL(path string) purgeNow {
	return func(c *Cache, at time.Time, soft bool) error {
		c.PurgeURL(at, KeyOf("shop", get(path)), soft)
		return nil
	}
}

func everything(service string) purgeNow {
	return func(c *Cache, at time.Time, soft bool) error { c.PurgeAll(at, service, soft); return nil }
}

func TestAPurgeConcernsWhatItNames(t *testing.T) {
	for _, c := range []struct {
		why       string
		purge     purgeNow
		concerned bool
	}{
		{"its tag", byTag("", "red"), true},
		{"its other tag", byTag("", "blue"), true},
		{"its tag of the other field", byTag("", "big, bad"), false},
		{"a comma separates", byTag("", "big"), true},
		{"a space in a tag that a comma ends", byTag("", "two words"), true},
		{"the tag in other letters", byTag("", "RED"), true},
		{"another's tag", byTag("", "green"), false},
		{"a part of its tag", byTag("", "re"), false},
		{"its tag in its service", byTag("shop", "red"), true},
		{"its tag in another service", byTag("blog", "red"), false},
		{"a prefix: the host", byPrefix("", "https://shop.example.com/"), true},
		{"a prefix: the host without a path, with its default port", byPrefix("", "https://SHOP.example.com:443"), true},
		{"a prefix: its directory", byPrefix("", "https://shop.example.com/img/"), true},
		{"a prefix: half a name", byPrefix("", "https://shop.example.com/img/lo"), true},
		{"a prefix: the URL itself", byPrefix("", "https://shop.example.com/img/logo?v=1"), true},
		{"a prefix: into the query", byPrefix("", "https://shop.example.com/img/logo?v"), true},
		{"a prefix: escaped in another way", byPrefix("", "https://shop.example.com/%69mg/"), true},
		{"a prefix: more than the URL", byPrefix("", "https://shop.example.com/img/logo?v=12"), false},
		{"a prefix: another path", byPrefix("", "https://shop.example.com/js/"), false},
		{"a prefix: another host", byPrefix("", "https://www.example.com/img/"), false},
		{"a prefix: another scheme", byPrefix("", "http://shop.example.com/img/"), false},
		{"a prefix in its service", byPrefix("shop", "https://shop.example.com/img/"), true},
		{"a prefix in another service", byPrefix("blog", "https://shop.example.com/img/"), false},
		{"its URL", byURL("/img/logo?v=1"), true},
		{"another query", byURL("/img/logo?v=2"), false},
		{"no query", byURL("/img/logo"), false},
		{"everything", everything(""), true},
		{"everything of its service", everything("shop"), true},
		{"everything of another service", everything("blog"), false},
	} {
		for _, soft := range []bool{false, true} {
			h := newHarness(t)
			r := get("/img/logo?v=1")
			h.store(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red blue", "Cache-Tag: big, two words"), "x")
			if err := c.purge(h.Cache, epoch.Add(time.Second), soft); err != nil {
				t.Errorf("%s: %v", c.why, err)
			}
			state, reason := Hit, ReasonFresh
			switch {
			case c.concerned && soft:
				state, reason = Stale, ReasonPurged
			case c.concerned:
				state, reason = Miss, ReasonNotStored
			}
			for range 2 {
				h.want(fmt.Sprint(c.why, ", soft ", soft), 2*time.Second, r, state, reason)
			}
			if c.concerned {
				h.store(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red blue", "Cache-Tag: big, two words").at(epoch.Add(2*time.Second)), "y")
			}
			h.want(c.why+": fetched since", 3*time.Second, r, Hit, ReasonFresh)
		}
	}
}

func TestWhatCannotBePurgedIsAnError(t *testing.T) {
	h := newHarness(t)
	for _, c := range []purgeNow{
		byTag("", ""), byTag("", " "), byTag("", strings.Repeat("x", maxTagLength+1)),
		byPrefix("", ""), byPrefix("", "/img/"), byPrefix("", "shop.example.com/img/"), byPrefix("", "ftp://h/"), byPrefix("", "https:///img/"), byPrefix("", "https://u@h/"),
		byPrefix("", "https://h/a/../b"), byPrefix("", "https://h/a/."), byPrefix("", "https://h/%4"), byPrefix("", "https://h/a b"), byPrefix("", "https://h/#x"),
		byPrefix("", "https://h/"+strings.Repeat("x", maxPurgePrefix)),
	} {
		if c(h.Cache, epoch, false) == nil {
			t.Error("no error")
		}
	}
	if h.PurgeSeq() != 0 {
		t.Error("what was refused must not have happened")
	}
}

func TestAKeyWithoutAHostIsComparedByItsPath(t *testing.T) {
	c := small()
	key := Key{service: "shop", scheme: "https", path: "/img/x"}
	for _, p := range []struct {
		prefix    string
		concerned bool
	}{{"https://a.example/img/", true}, {"https://a.example/js/", false}, {"http://a.example/img/", false}} {
		before := c.PurgeSeq()
		byPrefix("", p.prefix)(c, epoch, false)
		if v, _ := c.purges.judge(&key, nil, before); v.hard != p.concerned {
			t.Errorf("%s: %v", p.prefix, v)
		}
	}
}

func TestVariantsGoTogether(t *testing.T) {
	for _, purge := range []purgeNow{byURL("/a"), byTag("", "red"), byPrefix("", "https://shop.example.com/a")} {
		h := newHarness(t)
		for _, lang := range []string{"de", "en"} {
			h.store(get("/a", "Accept-Language: "+lang), answer(200, "Cache-Control: max-age=60", "Vary: Accept-Language", "Surrogate-Key: red"), lang)
		}
		if purge(h.Cache, epoch, false); h.PurgeURL(epoch, h.key(get("/b")), false).Objects != 0 {
			t.Error("nothing is stored there")
		}
		for _, lang := range []string{"de", "en"} {
			h.want(lang, 0, get("/a", "Accept-Language: "+lang), Miss, ReasonNotStored)
		}
	}
}

func TestAPurgeOfAURLSaysHowManyVariantsThereWere(t *testing.T) {
	h := newHarness(t)
	for _, lang := range []string{"de", "en"} {
		h.store(get("/a", "Accept-Language: "+lang), answer(200, "Cache-Control: max-age=60", "Vary: Accept-Language"), lang)
	}
	if p := h.PurgeURL(epoch, h.key(get("/a")), true); p.Objects != 2 || p.Seq != 1 {
		t.Errorf("%+v", p)
	}
	if p := h.PurgeAll(epoch, "", false); p.Objects != 2 || p.Seq != 2 {
		t.Errorf("%+v", p)
	}
}

// RFC 9111 §4.2.4, RFC 5861: stale is stale, whoever says so.
func TestASoftPurgeLeavesWhatAStaleResponseMayDo(t *testing.T) {
	for _, c := range []struct {
		why, cc      string
		after        time.Duration
		while, error bool
	}{
		{"nothing granted", "max-age=60", time.Second, false, false},
		{"stale-while-revalidate", "max-age=60, stale-while-revalidate=10", 9 * time.Second, true, false},
		{"counts from the purge", "max-age=60, stale-while-revalidate=10", 12 * time.Second, false, false},
		{"stale-if-error", "max-age=60, stale-if-error=10", 9 * time.Second, false, true},
		{"counts from the purge", "max-age=60, stale-if-error=10", 12 * time.Second, false, false},
		{"must-revalidate forbids", "max-age=60, stale-while-revalidate=10, stale-if-error=10, must-revalidate", time.Second, false, false},
		{"s-maxage forbids", "s-maxage=60, stale-while-revalidate=10, stale-if-error=10", time.Second, false, false},
	} {
		h := newHarness(t)
		r := get("/a")
		h.store(r, answer(200, "Cache-Control: "+c.cc, `ETag: "1"`, "Surrogate-Key: red"), "x")
		byTag("", "red")(h.Cache, epoch.Add(time.Second), true)
		res := h.look(time.Second+c.after, r)
		if res.State != Stale || res.TTL > 0 || res.ServeStaleWhileRevalidate != c.while || res.ServeStaleOnError != c.error {
			t.Errorf("%s: %+v", c.why, res)
		}
		if Conditions(res.Object).Get("if-none-match") != `"1"` {
			t.Errorf("%s: no validator", c.why)
		}
		// A clock that was set back makes nothing fresh.
		if res := h.look(-time.Hour, r); res.State != Stale || res.Object.TTL(epoch.Add(-time.Hour)) > 0 {
			t.Errorf("%s: fresh again: %+v", c.why, res)
		}
	}
}

func TestA304AfterASoftPurgeMakesItFresh(t *testing.T) {
	h := newHarness(t)
	r := get("/a")
	h.store(r, answer(200, "Cache-Control: max-age=60", `ETag: "1"`, "Surrogate-Key: red"), "x")
	byTag("", "red")(h.Cache, epoch, true)
	stale := h.want("purged", time.Second, r, Stale, ReasonPurged).Object
	f, _ := h.Begin(epoch.Add(time.Second), h.key(r), r)
	o := f.NotModified(r, answer(304, "Cache-Control: max-age=60", `ETag: "1"`).at(epoch.Add(time.Second)), stale, h.policy)
	if o == nil || h.body(h.want("validated", 2*time.Second, r, Hit, ReasonFresh).Object, Whole) != "x" {
		t.Fatal("not the object")
	}
	byTag("", "red")(h.Cache, epoch, false)
	h.want("the tag is still known, though the 304 did not say it", 2*time.Second, r, Miss, ReasonNotStored)
}

func TestA304OfBeforeAPurgeDoesNotUndoIt(t *testing.T) {
	for _, soft := range []bool{false, true} {
		h := newHarness(t)
		r := get("/a")
		h.store(r, answer(200, "Cache-Control: max-age=1", `ETag: "1"`, "Surrogate-Key: red"), "x")
		stale := h.want("expired", 2*time.Second, r, Stale, ReasonExpired).Object
		f, _ := h.Begin(epoch.Add(2*time.Second), h.key(r), r)
		byTag("", "red")(h.Cache, epoch.Add(2*time.Second), soft)
		f.NotModified(r, answer(304, "Cache-Control: max-age=60", `ETag: "1"`).at(epoch.Add(2*time.Second)), stale, h.policy)
		if soft {
			h.want("soft", 3*time.Second, r, Stale, ReasonPurged)
		} else {
			h.want("hard", 3*time.Second, r, Miss, ReasonNotStored)
		}
	}
}

func TestAFetchThatBeganBeforeThePurgeServesNobodyAfterIt(t *testing.T) {
	for _, arriving := range []bool{false, true} {
		for _, soft := range []bool{false, true} {
			h := newHarness(t)
			r := get("/a")
			f, _ := h.Begin(epoch, h.key(r), r)
			respond := func() *Writer {
				w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red"), h.policy)
				w.Write([]byte("old"))
				return w
			}
			var w *Writer
			if arriving {
				w = respond()
			}
			byTag("", "green")(h.Cache, epoch, soft)
			byTag("", "red")(h.Cache, epoch, soft)
			g, leader := h.Begin(epoch, h.key(r), r)
			if arriving != leader {
				t.Errorf("arriving %t: leads %t: whether it is concerned is known once the header section is", arriving, leader)
			}
			if !arriving {
				w = respond()
				if o, reason, err := g.Wait(t.Context(), r); o != nil || reason != ReasonOtherVariant || err != nil {
					t.Errorf("it got %v, %v, %v", o, reason, err)
				}
			}
			reason := w.Commit(nil)
			if soft {
				h.want("soft", 0, r, Stale, ReasonPurged)
			} else if reason != ReasonInvalidated {
				t.Error("stored:", reason)
			}
		}
	}
}

func TestAFetchThatBeganAfterThePurgeIsNotConcerned(t *testing.T) {
	h := newHarness(t)
	r := get("/a")
	byTag("", "red")(h.Cache, epoch, false)
	h.store(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red"), "x")
	h.want("fetched since", 0, r, Hit, ReasonFresh)
}

func TestTags(t *testing.T) {
	many := strings.Repeat("t ", maxTags)
	for _, c := range []struct {
		why    string
		fields message.Fields
		want   int
		all    bool
		found  bool
	}{
		{"none", fields("X: y"), 0, false, false},
		{"an empty field", fields("Surrogate-Key: "), 0, false, true},
		{"white space", fields("Surrogate-Key: a  b\ta"), 2, false, true},
		{"a comma is a part of a key", fields("Surrogate-Key: a,b"), 1, false, true},
		{"commas", fields("Cache-Tag: a, ,b,,a b"), 3, false, true},
		{"several lines and fields", fields("Cache-Tag: a", "Cache-Tag: b", "Surrogate-Key: c a"), 3, false, true},
		{"as many as may be", fields("Surrogate-Key: " + many), 1, false, true},
		{"one more", fields("Surrogate-Key: " + many + "t"), 0, true, true},
		{"a long one", fields("Surrogate-Key: " + strings.Repeat("x", maxTagLength)), 1, false, true},
		{"one too long", fields("Surrogate-Key: a " + strings.Repeat("x", maxTagLength+1)), 0, true, true},
		{"of no tag field", fields("Xkey: a"), 0, false, false},
	} {
		s, found := on().tags(c.fields)
		if len(s.hashes) != c.want || s.all != c.all || found != c.found {
			t.Errorf("%s: %d tags, all %t, found %t", c.why, len(s.hashes), s.all, found)
		}
	}
	p := &Policy{TagFields: []string{"XKey", "My-Tags"}}
	if s, _ := p.tags(fields("xkey: a b,c", "my-tags: d, e f")); len(s.hashes) != 5 {
		t.Errorf("%v", s)
	}
}

func TestMoreTagsThanAreKeptMeansEveryTag(t *testing.T) {
	h := newHarness(t)
	r := get("/a")
	h.store(r, answer(200, "Cache-Control: max-age=60", "Surrogate-Key: "+strings.Repeat("t ", maxTags+1)), "x")
	h.want("stored", 0, r, Hit, ReasonFresh)
	if h.counters.overtagged.Get() != 1 {
		t.Error("not counted")
	}
	byTag("", "anything")(h.Cache, epoch, false)
	h.want("purged", 0, r, Miss, ReasonNotStored)
}

func TestTagFieldsAreNotForClients(t *testing.T) {
	for _, forward := range []bool{false, true} {
		h := newHarness(t)
		h.policy.ForwardTags = forward
		h.store(get("/a"), answer(200, "Cache-Control: max-age=60", "Surrogate-Key: a", "Cache-Tag: b", "X: y"), "x")
		o := h.look(0, get("/a")).Object
		if o.Fields.Has("surrogate-key") != forward || o.Fields.Has("cache-tag") != forward || !o.Fields.Has("x") {
			t.Errorf("forward %t: %v", forward, o.Fields)
		}
	}
}

// fakeTier is a tier that has got as far as it says.
type fakeTier struct {
	events  []PurgeEvent
	applied uint64
}

func (f *fakeTier) Purged(e PurgeEvent) { f.events = append(f.events, e) }
func (f *fakeTier) Applied() uint64     { return f.applied }

func TestAFullTableForgetsWhatIsAppliedOrPurgesTooMuch(t *testing.T) {
	for _, c := range []struct {
		why           string
		swept, tiered bool
		overflows     int
		state         State
		reason        Reason
	}{
		{"swept everywhere", true, true, 0, Hit, ReasonFresh},
		{"not swept", false, true, 1, Miss, ReasonNotStored},
		{"not in the tier: what is in memory has been compared", true, false, 1, Hit, ReasonFresh},
	} {
		h := newHarness(t)
		tier := &fakeTier{}
		h.AttachPurges(tier)
		overflows := 0
		h.purges.overflowed = func() { overflows++ }
		h.store(get("/a"), answer(200, "Cache-Control: max-age=60", "Surrogate-Key: red"), "x")
		f, _ := h.Begin(epoch, h.key(get("/b")), get("/b"))
		for i := range 2*h.purges.limit + 1 {
			byTag("", fmt.Sprint("tag", i))(h.Cache, epoch, false)
			if i == h.purges.limit {
				if c.swept && !h.sweep(t.Context()) {
					t.Fatal("the sweep failed")
				}
				if c.tiered {
					tier.applied = h.PurgeSeq()
				}
			}
		}
		if n := h.purges.targets(); n > 2*h.purges.limit {
			t.Errorf("%s: %d targets", c.why, n)
		}
		if len(tier.events) != 2*h.purges.limit+1 || overflows != c.overflows {
			t.Errorf("%s: the tier has heard of %d, %d overflows", c.why, len(tier.events), overflows)
		}
		h.want(c.why, 0, get("/a"), c.state, c.reason)
		w, _ := f.Respond(get("/b"), answer(200, "Cache-Control: max-age=60"), h.policy)
		if reason := w.Commit(nil); reason != ReasonInvalidated {
			t.Errorf("%s: a fetch from before what is forgotten: %v", c.why, reason)
		}
	}
}

func TestPurgesHoldInALaterLife(t *testing.T) {
	h := newHarness(t)
	tier := &fakeTier{}
	h.AttachPurges(tier)
	byTag("shop", "red")(h.Cache, epoch, false)
	byTag("", "blue")(h.Cache, epoch.Add(time.Second), true)
	byPrefix("", "https://a.example/x")(h.Cache, epoch, false)
	byURL("/u")(h.Cache, epoch, true)
	everything("blog")(h.Cache, epoch, false)

	var kept []byte
	for _, e := range h.PurgeLog() {
		kept, _ = e.AppendBinary(kept)
	}
	var events []PurgeEvent
	for rest := kept; len(rest) > 0; {
		e, more, err := ParsePurgeEvent(rest)
		if err != nil {
			t.Fatal(err)
		}
		events, rest = append(events, e), more
	}
	if len(events) != len(tier.events) {
		t.Fatalf("%d events, the tier heard of %d", len(events), len(tier.events))
	}
	later := small()
	later.ApplyPurges(100, events...)
	later.ApplyPurges(0, events[0], events[0])
	if later.PurgeSeq() != 100 {
		t.Error("the numbers must rise:", later.PurgeSeq())
	}
	key := func(service, path string) Key { return KeyOf(service, get(path)) }
	tagged := func(tag string) *tagSet { return &tagSet{hashes: []uint64{tagHash(tag)}} }
	for _, c := range []struct {
		why   string
		key   Key
		tags  *tagSet
		since uint64
		want  purgeVerdict
	}{
		{"red in shop", key("shop", "/"), tagged("red"), 0, purgeVerdict{hard: true}},
		{"red in shop, since", key("shop", "/"), tagged("red"), 1, purgeVerdict{}},
		{"red elsewhere", key("other", "/"), tagged("red"), 0, purgeVerdict{}},
		{"blue", key("other", "/"), tagged("blue"), 1, purgeVerdict{soft: true, softAt: epoch.Add(time.Second)}},
		{"URL", key("shop", "/u"), nil, 4, purgeVerdict{soft: true, softAt: epoch}},
		{"blog", key("blog", "/z"), nil, 5, purgeVerdict{hard: true}},
	} {
		v, upTo := later.purges.judge(&c.key, c.tags, c.since)
		if v.hard != c.want.hard || v.soft != c.want.soft || !v.softAt.Equal(c.want.softAt) || upTo != 100 {
			t.Errorf("%s: %+v up to %d", c.why, v, upTo)
		}
	}
}

func FuzzParsePurgeEvent(f *testing.F) {
	for _, e := range []PurgeEvent{{}, {Seq: 7, At: epoch, Soft: true, Kind: PurgeTag, Service: 1, Hash: 2}, {Kind: PurgePrefix, Length: 9, Hash: 1}} {
		b, _ := e.AppendBinary(nil)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := ParsePurgeEvent(b)
		if err != nil {
			if !errors.Is(err, errPurgeEvent) || len(rest) != len(b) {
				t.Error(err)
			}
			return
		}
		again, _ := e.AppendBinary(nil)
		if string(again)+string(rest) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
		small().ApplyPurges(0, e)
	})
}

func FuzzTags(f *testing.F) {
	f.Add("surrogate-key", "a b,c")
	f.Add("cache-tag", " a b ,, c")
	f.Add("other", "a, b\tc")
	f.Fuzz(func(t *testing.T, name, value string) {
		for tag := range EachTag(name, value) {
			if tag == "" || strings.Trim(tag, " \t") != tag || !strings.Contains(value, tag) {
				t.Errorf("%q of %q", tag, value)
			}
		}
	})
}

func TestTheSweepFreesWhatNobodyAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		for i := range 600 {
			h.store(get(fmt.Sprint("/", i)), answer(200, "Cache-Control: max-age=60", fmt.Sprint("Surrogate-Key: t", i%3)), "x")
		}
		empty := small().budget.used.Load()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.Run(ctx) })
		byTag("", "t0")(h.Cache, epoch, false)
		byTag("", "t1")(h.Cache, epoch, true)
		if n := h.objects.Load(); n != 600 {
			t.Errorf("%d objects: the call itself goes through nothing", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := h.objects.Load(); n != 400 {
			t.Errorf("%d objects", n)
		}
		if a, b := h.counters.reclaimed.Get(), h.counters.softened.Get(); a != 200 || b != 200 {
			t.Errorf("%d reclaimed, %d softened", a, b)
		}
		everything("")(h.Cache, epoch, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, used := h.objects.Load(), h.budget.used.Load(); n != 0 || used != empty {
			t.Errorf("%d objects, %d bytes, empty it had %d", n, used, empty)
		}
		if h.purges.swept.Load() != h.PurgeSeq() {
			t.Error("it has not come to its end")
		}
		byTag("", "t0")(h.Cache, epoch, false)
		stop()
		wg.Wait()
	})
}
