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
	if t, ok := parseFixdate(s); ok {
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
	if t, ok := parseLayout(s, time.ANSIC); ok {
		return t, true
	}
	const leap, before = "23:59:60", "23:59:59" // the grammar has it (RFC 9110 §5.6.7), package time has not
	if written := strings.Replace(s, leap, before, 1); written != s {
		t, ok := parseDate(written, now)
		return t.Add(time.Second), ok
	}
	return time.Time{}, false
}

// parseFixdate reads an IMF-fixdate. Every request with If-Modified-Since has one, so it allocates nothing.
func parseFixdate(s string) (time.Time, bool) {
	const form = "ddd, 00 mmm 0000 00:00:00 GMT"
	if len(s) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		switch c := form[i]; c {
		case '0':
			if !isDigit(s[i]) {
				return time.Time{}, false
			}
		case ',', ' ', ':', 'G', 'M', 'T':
			if upper(s[i]) != c {
				return time.Time{}, false
			}
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	month, day, hour, minute, second := monthOf(s[8:11]), two(5), two(17), two(20), two(23)
	if month == 0 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(two(12)*100+two(14), month, day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day && t.Month() == month && strings.EqualFold(t.Weekday().String()[:3], s[:3])
}

func monthOf(s string) time.Month {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(m.String()[:3], s) {
			return m
		}
	}
	return 0
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c &^ 0x20
	}
	return c
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
