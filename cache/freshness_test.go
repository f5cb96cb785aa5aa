package cache

import (
	"testing"
	"time"
)

func TestRFC9110_5_6_7_Dates(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"sun, 06 nov 1994 08:49:37 gmt", // RFC 9111 §4.2: whatever the case
	} {
		if got, ok := parseDate(s, epoch); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "0", "-1", "now", "1994-11-06T08:49:37Z",
		"Mon, 06 Nov 1994 08:49:37 GMT",   // it was a Sunday
		"Sun, 06 Nov 1994 08:49:37 UTC",   // RFC 9111 §4.2: another zone is invalid
		"Sun, 06 Nov 1994 08:49:37 +0000", //
		"Sun, 06 Nov 1994 08:49:37",       //
		"Sun, 6 Nov 1994 08:49:37 GMT",    // one digit
		"Sun, 06 Nov 94 08:49:37 GMT",     // two-digit year in the wrong form
		"Sun, 06 Nov 1994 8:49:37 GMT",    //
		"Sun, 31 Feb 1994 08:49:37 GMT",   //
		"Sun,  06 Nov 1994 08:49:37 GMT",  // two spaces
		"Sun, 06 Nov 1994 08:49:37.5 GMT", //
		"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
	} {
		if got, ok := parseDate(s, epoch); ok {
			t.Errorf("%q was taken for %v", s, got)
		}
	}
	if got, ok := parseDate("Sunday, 01-Mar-75 00:00:00 GMT", epoch); !ok || got.Year() != 2075 {
		t.Errorf("75 in 2026 is %v", got)
	}
	if got, ok := parseDate("Sunday, 01-Mar-77 00:00:00 GMT", epoch); !ok || got.Year() != 1977 {
		t.Errorf("77 in 2026 is %v: more than 50 years ahead is the past", got)
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := parseDate(s, epoch); ok {
			if back, ok := parseDate(formatDate(d), epoch); !ok || !back.Equal(d) {
				t.Fatalf("%q: %v does not survive being written", s, d)
			}
		}
	})
}

func TestRFC9111_4_2_1_Lifetime(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		why   string
		lines []string
		want  time.Duration
	}{
		{"max-age", []string{"Cache-Control: max-age=60"}, time.Minute},
		{"s-maxage goes before max-age in a shared cache", []string{"Cache-Control: max-age=60, s-maxage=3600"}, hour},
		{"an unreadable s-maxage is stale, not absent", []string{"Cache-Control: max-age=60, s-maxage=x"}, 0},
		{"max-age goes before Expires", []string{"Cache-Control: max-age=60", "Expires: Sun, 01 Mar 2026 13:00:00 GMT"}, time.Minute},
		{"Expires counts from Date", []string{"Date: Sun, 01 Mar 2026 11:00:00 GMT", "Expires: Sun, 01 Mar 2026 13:00:00 GMT"}, 2 * hour},
		{"Expires counts from receipt without Date", []string{"Expires: Sun, 01 Mar 2026 13:00:00 GMT"}, hour},
		{"and with one that can't be read", []string{"Date: x", "Expires: Sun, 01 Mar 2026 13:00:00 GMT"}, hour},
		{"Expires in the past", []string{"Expires: Sun, 01 Mar 2026 11:00:00 GMT"}, 0},
		{"Expires: 0", []string{"Expires: 0"}, 0},
		{"Expires: 0 keeps the heuristic out", []string{"Expires: 0", "Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT"}, 0},
		{"two Expires lines", []string{"Expires: Sun, 01 Mar 2026 13:00:00 GMT", "Expires: Sun, 01 Mar 2026 13:00:00 GMT"}, 0},
		{"a tenth of the time since Last-Modified", []string{"Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT"}, hour},
		{"a day at most", []string{"Last-Modified: Sun, 01 Mar 2020 02:00:00 GMT"}, 24 * hour},
		{"a Last-Modified in the future", []string{"Last-Modified: Sun, 01 Mar 2026 22:00:00 GMT"}, 0},
		{"nothing stated: the service's default", nil, 7 * time.Second},
		{"far too much saturates", []string{"Cache-Control: max-age=99999999999"}, maxDelta * time.Second},
	} {
		resp := answer(200, tt.lines...)
		d, targeted := responseDirectives(resp.Fields, on())
		if got, _ := lifetime(&resp, &d, targeted, &Policy{DefaultTTL: 7 * time.Second}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestRFC9111_4_2_2_HeuristicsNeedAStatusThatAllowsThem(t *testing.T) {
	h := newHarness(t)
	h.policy.DefaultTTL = time.Minute
	for _, tt := range []struct {
		status int
		line   string
		want   Reason
	}{
		{200, "Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT", ReasonStored},
		{404, "Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT", ReasonStored},
		{403, "Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT", ReasonNoFreshness},
		{599, "Last-Modified: Sun, 01 Mar 2026 02:00:00 GMT", ReasonNoFreshness},
		{200, "X: default", ReasonStored},
		{301, "X: default", ReasonStored},
		{302, "X: default", ReasonNoFreshness},
		{404, "X: the default is not for errors", ReasonNoFreshness},
		{500, "X: default", ReasonNoFreshness},
	} {
		if got := h.store(get("/"+time.Duration(tt.status).String()+tt.line[:1]), answer(tt.status, tt.line), ""); got != tt.want {
			t.Errorf("%d, %s: %v, want %v", tt.status, tt.line, got, tt.want)
		}
	}
}

func TestRFC9111_4_2_3_Age(t *testing.T) {
	for _, tt := range []struct {
		why   string
		lines []string
		delay time.Duration
		want  time.Duration
	}{
		{"nothing known", nil, 0, 0},
		{"the time the response took", nil, 3 * time.Second, 3 * time.Second},
		{"Age, and the time since", []string{"Age: 10"}, 2 * time.Second, 12 * time.Second},
		{"Date, when it is more", []string{"Age: 10", "Date: Sun, 01 Mar 2026 11:59:00 GMT"}, 0, time.Minute},
		{"a Date in the future is no age", []string{"Date: Sun, 01 Mar 2026 12:01:00 GMT"}, 0, 0},
		{"an unreadable Age is ignored", []string{"Age: 7x"}, 0, 0},
		{"a negative Age is ignored", []string{"Age: -7"}, 0, 0},
		{"a fraction is ignored", []string{"Age: 7.0"}, 0, 0},
		{"the first of several", []string{"Age: 7, 20"}, 0, 7 * time.Second},
		{"the first of several lines", []string{"Age: 7", "Age: 20"}, 0, 7 * time.Second},
		{"overflow", []string{"Age: 99999999999999999999"}, 0, maxDelta * time.Second},
	} {
		resp := answer(200, tt.lines...)
		resp.Requested = epoch.Add(-tt.delay)
		if got := initialAge(&resp); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
	resp := answer(200, "Date: Sun, 01 Mar 2026 12:00:00 GMT").at(epoch.Add(900 * time.Millisecond))
	if got := initialAge(&resp); got != 0 {
		t.Errorf("%v: Date has whole seconds, the rest of one is no age", got)
	}
}

func TestRFC9111_4_2_AgeUsesUpFreshness(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=60", "Age: 50"), "x")
	h.want("10 s are left", 9*time.Second, r, Hit, ReasonFresh)
	h.want("and then none", 10*time.Second, r, Stale, ReasonExpired)
	late := get("/late")
	h.store(late, answer(200, "Cache-Control: max-age=60", "Age: 60"), "x")
	h.want("stale on arrival", 0, late, Stale, ReasonExpired)
	if !h.look(0, late).ServeStaleOnDisconnect {
		t.Error("stale on arrival, it is of use when no origin can be reached")
	}
	h.policy.StaleOnDisconnect = 0
	old := get("/old")
	if got := h.store(old, answer(200, "Cache-Control: max-age=60", "Age: 60"), "x"); got != ReasonNoFreshness {
		t.Errorf("stale on arrival, without validator, and not for when no origin can be reached: %v", got)
	}
}
