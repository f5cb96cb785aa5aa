package cache

import (
	"strings"
	"time"

	"nearcast/proxy/message"
)

// imfFixdate is the form in which dates are written (RFC 9110 §5.6.7).
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// parseDate reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7). Case is no matter, every other deviation is a fault,
// a time zone other than GMT among them (RFC 9111 §4.2). now resolves the two-digit years of the RFC 850 form.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if len(s) > 40 {
		return time.Time{}, false
	}
	if t, ok := parseLayout(s, imfFixdate); ok {
		return t, true
	}
	if t, ok := parseLayout(s, "Monday, 02-Jan-06 15:04:05 GMT"); ok {
		// More than 50 years in the future means the most recent year in the past with these digits.
		for t.After(now.AddDate(50, 0, 0)) {
			t = t.AddDate(-100, 0, 0)
		}
		for t.Before(now.AddDate(-50, 0, 0)) {
			t = t.AddDate(100, 0, 0)
		}
		return t, true
	}
	return parseLayout(s, time.ANSIC)
}

// parseLayout accepts what the layout would write, whatever the case. time.Parse alone takes more than that.
func parseLayout(s, layout string) (time.Time, bool) {
	if len(s) > 3 && strings.EqualFold(s[len(s)-3:], "gmt") {
		s = s[:len(s)-3] + "GMT"
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, false
	}
	// The day's name must be the date's; for a two-digit year it can't be checked, as the century is a guess.
	if written := t.Format(layout); !strings.EqualFold(written, s) &&
		!(strings.Contains(layout, "-06") && strings.EqualFold(afterComma(written), afterComma(s))) {
		return time.Time{}, false
	}
	return t, true
}

func afterComma(s string) string {
	_, rest, _ := strings.Cut(s, ",")
	return rest
}

// formatDate writes t as an IMF-fixdate.
func formatDate(t time.Time) string { return t.UTC().Format(imfFixdate) }

// dateField reads a field that must occur once and hold a date. found tells whether it occurs at all.
func dateField(f message.Fields, name string, now time.Time) (t time.Time, valid, found bool) {
	for i := range f {
		if f[i].Name != name {
			continue
		}
		if found {
			return time.Time{}, false, true
		}
		found = true
		t, valid = parseDate(f[i].Value, now)
	}
	return t, valid, found
}
