package proxy

import (
	"net/http"
	"testing"
	"time"
)

func TestTheClockWritesWhatTimeDoes(t *testing.T) {
	var c clock
	for _, now := range []time.Time{
		time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 11, 0, 0, 1, time.UTC), time.Date(2026, 3, 1, 11, 0, 0, 120_000_000, time.UTC),
		time.Date(2026, 3, 1, 11, 0, 1, 999_999_999, time.UTC), time.Date(2026, 10, 25, 2, 59, 59, 5, time.FixedZone("", 7200)),
		time.Date(2026, 10, 25, 2, 0, 0, 5000, time.FixedZone("", -3600-1800)), time.Unix(0, 1000), time.Now(),
	} {
		if got, want := string(c.appendTime(nil, now)), now.Format(time.RFC3339Nano); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := c.date(now), now.UTC().Format(http.TimeFormat); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
