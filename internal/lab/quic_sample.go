package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

// answeredBefore is how shortly before the event a client must have had an answer. What was silent already proves nothing.
const answeredBefore = time.Second

// readSurvival reads what a client has seen of an event. interval is the time between its requests. There is a sample also beside an error.
func readSurvival(records []quicload.Record, event time.Time, interval time.Duration) (survival.Sample, error) {
	var err error
	from := lastAnswer(records, event)
	if event.Sub(from) > answeredBefore {
		err = fmt.Errorf("no answer in the %v before the event", answeredBefore)
	}
	if from.IsZero() {
		return survival.Sample{}, err
	}
	gap := quicload.LongestGap(records, from)
	s := survival.Sample{
		survival.Requests: float64(len(records)), survival.Failed: float64(len(quicload.Failed(records))),
		survival.Gap: ms(gap), survival.Beyond: ms(max(0, gap-interval-usualTime(records, event))), survival.Unanswered: 0,
	}
	end := slices.MaxFunc(records, func(a, b quicload.Record) int { return a.End.Compare(b.End) }).End
	if silent := end.Sub(lastAnswer(records, end)); silent == gap && silent > answeredBefore/2 {
		s[survival.Unanswered] = 1
	}
	if n := overTCP(records); n > 0 && n < len(records)-len(quicload.Failed(records)) {
		s[survival.OverTCP] = float64(n)
	}
	if begun, told := begunAfter(records, event); told {
		s[survival.Renewed] = float64(begun)
	}
	return s, err
}

// lastAnswer is when the last success ended that did so at a moment at the latest; the zero time without any.
func lastAnswer(records []quicload.Record, until time.Time) (last time.Time) {
	for _, r := range records {
		if r.Err == "" && !r.End.After(until) && r.End.After(last) {
			last = r.End
		}
	}
	return last
}

// usualTime is the median time of the successes before the event.
func usualTime(records []quicload.Record, event time.Time) time.Duration {
	var times []time.Duration
	for _, r := range records {
		if r.Err == "" && r.End.Before(event) {
			times = append(times, r.End.Sub(r.Start))
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[(len(times)-1)/2]
}

// begunAfter counts the connections of which nothing was seen before the event. told is false when the client does not tell them apart.
func begunAfter(records []quicload.Record, event time.Time) (begun int, told bool) {
	before, after := map[uint64]bool{}, map[uint64]bool{}
	for _, r := range records {
		switch {
		case r.Err != "" || r.Connection == 0:
		case r.Start.Before(event):
			before[r.Connection] = true
		default:
			after[r.Connection] = true
		}
	}
	for id := range before {
		delete(after, id)
	}
	return len(after), len(before) > 0
}

// overTCP counts the answers that came over TCP.
func overTCP(records []quicload.Record) (n int) {
	for _, r := range records {
		if r.Err == "" && r.Protocol != "h3" && r.Protocol != "" {
			n++
		}
	}
	return n
}

// lostRequests says of the failed requests how many there were, and of the first ones when and why.
func lostRequests(records []quicload.Record, event time.Time) string {
	const most = 3
	failed := quicload.Failed(records)
	if len(failed) == 0 {
		return ""
	}
	var words []string
	for _, r := range failed[:min(most, len(failed))] {
		words = append(words, fmt.Sprintf("sent %d ms after the event, lasted %d ms: %s", r.Start.Sub(event).Milliseconds(), r.End.Sub(r.Start).Milliseconds(), r.Err))
	}
	return fmt.Sprintf("%d requests failed: %s", len(failed), strings.Join(words, "; "))
}

// judgeSurvival says which of the event's targets that do not depend on the machine's speed the run has missed.
func judgeSurvival(e survival.Event, run survival.Run) error {
	errs := []error{run.Err}
	for _, t := range e.Targets {
		if t.Timed || !slices.Contains(t.Of, run.Client) {
			continue
		}
		if v := t.Judge(run.Client, []survival.Run{run}); !v.Met {
			errs = append(errs, errors.New(v.String()))
		}
	}
	return errors.Join(errs...)
}
