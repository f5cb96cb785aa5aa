package cache

import "nearcast/cache/disk"

// DiskCondition is what is the matter with the disk tier.
type DiskCondition uint8

// The conditions of a disk tier. The zero value: there is none, or nothing is the matter.
const (
	DiskOK          DiskCondition = iota
	DiskLoading                   // it reads what it holds, and serves what it has read
	DiskSlow                      // it does not answer in time: what it holds is fetched anew
	DiskFull                      // there is no space; memory only
	DiskReadOnly                  // it can't be written; memory only
	DiskFailing                   // it fails otherwise; memory only
	DiskUnavailable               // it could not be opened yet; memory only
)

// Failing reports whether the edge does without its disk: it serves all the same, from memory and the origins, with more work for both. A disk that
// loads does not fail, and one that has been closed is a stop.
func (c DiskCondition) Failing() bool { return c >= DiskSlow }

// String returns the word for logs and the status.
func (c DiskCondition) String() string {
	switch c {
	case DiskLoading:
		return "loading"
	case DiskSlow:
		return "slow"
	case DiskFull:
		return "full"
	case DiskReadOnly:
		return "read-only"
	case DiskFailing:
		return "failing"
	case DiskUnavailable:
		return "unavailable"
	}
	return "ok"
}

// Condition is what the status comes to. A nil status, of a cache without a disk, is DiskOK.
func (s *DiskStatus) Condition() DiskCondition {
	if s == nil {
		return DiskOK
	}
	return s.condition
}

// conditionOf sorts a store's status.
func conditionOf(st disk.Status) DiskCondition {
	switch st.State {
	case disk.Loading:
		if st.Reason == disk.ReasonSlow {
			return DiskSlow
		}
		return DiskLoading
	case disk.Ready:
		if st.Reason == disk.ReasonSlow {
			return DiskSlow
		}
	case disk.Degraded:
		switch st.Reason {
		case disk.ReasonFull:
			return DiskFull
		case disk.ReasonReadOnly:
			return DiskReadOnly
		}
		return DiskFailing
	}
	return DiskOK
}
