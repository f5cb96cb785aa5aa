package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	version       = 1 // of the reports that are sent
	oldestVersion = 1 // of those that are understood

	// maxBody is more than the longest report: 256 prefixes, as many intents and names, all of the longest text.
	maxBody     = 128 << 10
	maxPrefixes = 256
	maxHears    = MaxEdges
	maxReason   = 64
	maxLoad     = 32
	maxSoftware = 64
	maxInstance = 64
	maxDuration = 100 * 365 * 24 * time.Hour // more is no duration of anything here, and would overflow when it goes on
)

var errOldVersion = errors.New("a version that is not understood any more")

// encode writes a report that is normal.
func (r *Report) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decodeReport reads a report that has been found authentic. Fields that this version does not know are passed over, since newer edges
// may have them; those that it knows must be within their bounds.
func decodeReport(body []byte) (*Report, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("a report of more than %d bytes", maxBody)
	}
	r := new(Report)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, err
	}
	if r.Version < oldestVersion {
		return nil, fmt.Errorf("version %d: %w", r.Version, errOldVersion)
	}
	return r, r.check()
}

// check reports the first value that no edge would send.
func (r *Report) check() error {
	switch {
	case !nameForm.MatchString(r.Edge):
		return fmt.Errorf("edge %.64q is no name", r.Edge)
	case !nameForm.MatchString(r.Region):
		return fmt.Errorf("region %.64q is no name", r.Region)
	case r.Instance == "" || !isText(r.Instance, maxInstance):
		return fmt.Errorf("instance %.64q can't be one", r.Instance)
	case !isText(r.Software, maxSoftware) || !isText(r.Load, maxLoad):
		return errors.New("software or load is no word")
	case !isDuration(r.Uptime) || !isDuration(r.Age):
		return errors.New("uptime or age is no duration")
	case len(r.Prefixes) > maxPrefixes || len(r.Intents) > maxPrefixes || len(r.Hears) > maxHears:
		return errors.New("more prefixes, intents or edges than there can be")
	}
	for _, p := range r.Prefixes {
		if !isPrefix(p.Prefix) || !isText(p.Reason, maxReason) || !isDuration(p.For) {
			return fmt.Errorf("prefix %v, its reason or its time can't be", p.Prefix)
		}
	}
	for _, i := range r.Intents {
		if !isPrefix(i.Prefix) || !isText(i.Reason, maxReason) || !isDuration(i.For) {
			return fmt.Errorf("the intent for the prefix %v can't be", i.Prefix)
		}
	}
	if slices.ContainsFunc(r.Hears, func(name string) bool { return !nameForm.MatchString(name) }) {
		return errors.New("hears an edge whose name is none")
	}
	return nil
}

// normal is the part of a report that the edge says itself, within the bounds that check has, and the caller's no more.
func (r *Report) normal() *Report {
	out := &Report{Draining: r.Draining, Load: asText(r.Load, maxLoad), Prefixes: []PrefixReport{}, Intents: []Intent{}}
	for _, p := range r.Prefixes {
		if isPrefix(p.Prefix) && len(out.Prefixes) < maxPrefixes {
			p.Reason, p.For = asText(p.Reason, maxReason), asDuration(p.For)
			out.Prefixes = append(out.Prefixes, p)
		}
	}
	for _, i := range r.Intents {
		if isPrefix(i.Prefix) && len(out.Intents) < maxPrefixes {
			i.Reason, i.For = asText(i.Reason, maxReason), asDuration(i.For)
			out.Intents = append(out.Intents, i)
		}
	}
	return out
}

func isPrefix(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6()
}

func isDuration(d time.Duration) bool { return d >= 0 && d <= maxDuration }

func asDuration(d time.Duration) time.Duration { return min(max(0, d), maxDuration) }

// isText reports whether s is printable ASCII that JSON need not escape: it goes to logs and terminals.
func isText(s string, most int) bool { return len(s) <= most && asText(s, most) == s }

func asText(s string, most int) string {
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}
