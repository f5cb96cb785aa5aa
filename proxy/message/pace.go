package message

import "time"

// Pace is the least speed at which a client must send a body or take a response: it may keep us waiting for Grace in all, and for a
// second more with each Rate bytes that it has moved. A client that trickles one byte at a time, just inside an ordinary timeout,
// is out of time soon after Grace; a slow and honest one is not.
type Pace struct {
	Grace time.Duration // 0: no limit
	Rate  int64         // bytes a second; 0: no credit for what has moved
}

// Deadline is when a wait that begins now must end, after the client has moved n bytes and kept us waiting for waited before. The
// zero time is no limit. Only what was spent waiting for the client counts, not what we or the origin took.
func (p Pace) Deadline(now time.Time, waited time.Duration, n int64) time.Time {
	if p.Grace <= 0 {
		return time.Time{}
	}
	left := p.Grace - waited
	if p.Rate > 0 {
		const most = int64(1<<63-1) / int64(time.Second) / 2
		left += time.Duration(min(n/p.Rate, most)) * time.Second
	}
	// Never more than Grace in one wait: a client that has moved gigabytes and is gone is not to be waited for all day.
	return now.Add(min(left, p.Grace))
}
