package health

import (
	"cmp"
	"slices"
	"time"
)

// State is what is known of one target. A State is never changed once it is in a Snapshot.
type State struct {
	ID     ID
	Status Status
	// Since is when Status last changed; for Unknown, when the target was declared.
	Since time.Time
	// At is when the latest probe ended, well or not; zero before the first.
	At time.Time
	// Reason is how the latest probe ended, and Err its error, nil after a success.
	Reason Reason
	Err    error
	// Consecutive is how many of the latest probes in a row succeeded, or failed, as Reason says.
	Consecutive int
	// RTT is the smoothed round-trip time to an origin, 0 while there is no measurement; for a listener it is the time of the
	// whole exchange. MinRTT is the least measured.
	// Both start over when the target goes down: after an outage the path may be another one.
	RTT, MinRTT time.Duration
}

// Up reports whether the target may be used.
func (s *State) Up() bool { return s != nil && s.Status == Up }

// Snapshot is the state of every target at one moment. It is immutable, and nil is a snapshot without targets.
type Snapshot struct {
	states []*State // listeners first, then the origins by service; within both in the order declared
	layout *layout
}

// layout says where in states everything is. It is shared by all snapshots of one target set.
type layout struct {
	index    map[ID]int
	services map[string][2]int // half-open ranges of states
	self     int               // states[:self] are the listeners
}

// Get returns the state of one target, or nil.
func (s *Snapshot) Get(id ID) *State {
	if s == nil {
		return nil
	}
	if i, ok := s.layout.index[id]; ok {
		return s.states[i]
	}
	return nil
}

// All returns every state: the listeners first, then the origins by service. The caller does not change the slice.
func (s *Snapshot) All() []*State {
	if s == nil {
		return nil
	}
	return s.states
}

// Self returns the states of the edge's own listeners. The caller does not change the slice.
func (s *Snapshot) Self() []*State {
	if s == nil {
		return nil
	}
	return s.states[:s.layout.self:s.layout.self]
}

// Origins returns the states of one service's origins in the order declared. The caller does not change the slice.
func (s *Snapshot) Origins(service string) []*State {
	if s == nil {
		return nil
	}
	r := s.layout.services[service]
	return s.states[r[0]:r[1]:r[1]]
}

// newLayout sorts the ids, stably, and says where each is.
func newLayout(ids []ID) ([]ID, *layout) {
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(a, b ID) int {
		if a.Self() != b.Self() {
			if a.Self() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Service, b.Service)
	})
	l := &layout{index: make(map[ID]int, len(ids)), services: make(map[string][2]int)}
	for i, id := range ids {
		l.index[id] = i
		if id.Self() {
			l.self = i + 1
			continue
		}
		r, ok := l.services[id.Service]
		if !ok {
			r[0] = i
		}
		r[1] = i + 1
		l.services[id.Service] = r
	}
	return ids, l
}

// with returns a snapshot in which one state is another.
func (s *Snapshot) with(st *State) *Snapshot {
	states := slices.Clone(s.states)
	states[s.layout.index[st.ID]] = st
	return &Snapshot{states: states, layout: s.layout}
}
