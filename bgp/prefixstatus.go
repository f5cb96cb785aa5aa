package bgp

import (
	"net/netip"
	"time"
)

// maxHistory is how many changes of a prefix are kept.
const maxHistory = 32

// PrefixStatus is a snapshot of one prefix.
type PrefixStatus struct {
	Prefix           netip.Prefix `json:"prefix"`
	Announced        bool         `json:"announced"`
	Level            Level        `json:"level"`
	Reason           Reason       `json:"reason"`
	Detail           string       `json:"detail,omitempty"`
	Since            time.Time    `json:"since"`                    // when Level last changed, or when the Announcer began
	Until            time.Time    `json:"until,omitzero"`           // when the decision changes by itself, zero: it waits for something else
	HoldDownUntil    time.Time    `json:"hold_down_until,omitzero"` // zero: not held down
	Prepend          uint8        `json:"prepend,omitempty"`        // besides what is configured for every announcement
	GracefulShutdown bool         `json:"graceful_shutdown,omitempty"`
	DrainStep        int          `json:"drain_step,omitempty"`     // from 1
	Flaps            int          `json:"flaps,omitempty"`          // that are not forgiven
	Frozen           bool         `json:"frozen,omitempty"`         // until an operator's order
	WantsToLeave     bool         `json:"wants_to_leave,omitempty"` // announce_when is not met: withdrawn if another region did better
	LastRegion       bool         `json:"last_region,omitempty"`    // serving what the cache has
	History          []Change     `json:"history"`                  // the latest last
}

// Change is one change of a prefix's level or reason.
type Change struct {
	At     time.Time `json:"at"`
	Level  Level     `json:"level"`
	Reason Reason    `json:"reason"`
	Detail string    `json:"detail,omitempty"`
}

// appendChange makes a new list: the old one may have been handed out.
func appendChange(h []Change, c Change) []Change {
	if len(h) >= maxHistory {
		h = h[len(h)-maxHistory+1:]
	}
	return append(h[:len(h):len(h)], c)
}

// publish makes the snapshot for Status.
func (a *Announcer) publish(now time.Time, ds []Decision) {
	old := a.status.Load()
	st := make([]PrefixStatus, len(ds))
	for i, d := range ds {
		s := &a.state.Prefixes[i]
		since := s.Since
		switch {
		case !since.IsZero():
		case old != nil:
			since = (*old)[i].Since
		default:
			since = now
		}
		st[i] = PrefixStatus{Prefix: d.Prefix, Announced: d.Announced(), Level: d.Level, Reason: d.Reason, Detail: d.Detail, Since: since, Until: d.Until,
			HoldDownUntil: s.HoldDownUntil, Prepend: d.Prepend, GracefulShutdown: d.GracefulShutdown, DrainStep: d.Step,
			Flaps: s.Flaps, Frozen: d.Frozen, WantsToLeave: d.Wants, LastRegion: d.Island, History: a.history[i]}
	}
	a.status.Store(&st)
}

// Status is a snapshot, in the configuration's order. Nil before Run's first decision.
func (a *Announcer) Status() []PrefixStatus {
	st := a.status.Load()
	if st == nil {
		return nil
	}
	now := time.Now()
	out := append([]PrefixStatus(nil), *st...)
	for i := range out {
		if !out[i].HoldDownUntil.After(now) {
			out[i].HoldDownUntil = time.Time{}
		}
	}
	return out
}

// heldUntil is the end of the longest hold-down.
func (a *Announcer) heldUntil() (until time.Time) {
	for _, st := range a.Status() {
		if st.HoldDownUntil.After(until) {
			until = st.HoldDownUntil
		}
	}
	return until
}
