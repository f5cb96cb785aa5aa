package health

// Status is what is known of a target. The zero value is Unknown, and Unknown is never up.
type Status uint8

const (
	Unknown Status = iota // too few probes have agreed since the start
	Up
	Down
)

// String returns the word for logs and for the status page.
func (s Status) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// Streak turns single results into a status with hysteresis. Consecutive means consecutive: one result of the other kind
// starts the count again. The zero value is Unknown with nothing counted.
type Streak struct {
	status Status
	last   bool
	run    int
}

// Status is the status after the results observed so far.
func (s *Streak) Status() Status { return s.status }

// Consecutive is how many of the latest results in a row were the same, and which result that was.
func (s *Streak) Consecutive() (n int, ok bool) { return s.run, s.last }

// Observe counts one result and reports whether the status changed: to Up with the rise-th success in a row,
// to Down with the fall-th failure in a row. Values of rise and fall under 1 mean 1.
func (s *Streak) Observe(ok bool, rise, fall int) (changed bool) {
	if s.run > 0 && ok != s.last {
		s.run = 0
	}
	s.last = ok
	s.run++
	before := s.status
	switch {
	case ok && s.run >= rise:
		s.status = Up
	case !ok && s.run >= fall:
		s.status = Down
	}
	return s.status != before
}
