package load

import "time"

// tracker turns one signal's values into a level with hysteresis. It is pure: the times are those of the samples. The zero value is Unknown.
//
// A level begins when every value of the last `for` has been at its threshold or above, and is over when every value of the last
// `recover.for` has been below the share `recover.below` of it. Consecutive means consecutive: one value of the other kind
// begins the count again, and so does one that could not be read.
type tracker struct {
	level  Level
	latest Level
	since  time.Time
	above  [Critical + 1]time.Time // by level: the first of the values in a row at its threshold or above; zero: the last was not
	below  [Critical + 1]time.Time // by level: the first of those in a row that are low enough to leave it
}

// lose notes that the signal could not be read.
func (t *tracker) lose(now time.Time) {
	since := t.since
	if t.level != Unknown || since.IsZero() {
		since = now
	}
	*t = tracker{since: since}
}

// observe takes in the value at now.
func (t *tracker) observe(now time.Time, v float64, th *thresholds) {
	before := t.level
	t.level, t.latest = max(t.level, OK), OK
	for l := High; l <= Critical && th.high > 0; l++ {
		bound := th.of(l)
		run(&t.above[l], now, v >= bound)
		run(&t.below[l], now, v < bound*th.leave.Below)
		if v >= bound {
			t.latest = l
		}
		if l > t.level && lasted(t.above[l], now, th.rise) {
			t.level = l
		}
	}
	for t.level > OK && lasted(t.below[t.level], now, th.leave.For) {
		t.level--
	}
	if t.level != before {
		t.since = now
	}
}

// run keeps the time of the first of values in a row.
func run(first *time.Time, now time.Time, in bool) {
	switch {
	case !in:
		*first = time.Time{}
	case first.IsZero():
		*first = now
	}
}

// lasted reports whether a run has lasted for d.
func lasted(first, now time.Time, d time.Duration) bool {
	return !first.IsZero() && now.Sub(first) >= d
}
