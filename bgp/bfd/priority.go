package bfd

// priority is how the thread of the sessions is scheduled.
type priority int32

const (
	priorityNone   priority = iota // the thread does not run
	priorityRaised                 // nice -20
	priorityNormal                 // like everything else
	numPriorities
)

var priorityNames = [numPriorities]string{"none", "raised", "normal"}

func (p priority) describe() string {
	if p == priorityRaised {
		return "the sessions' thread goes before others (nice -20)"
	}
	return "the sessions' thread has no raised priority: that takes CAP_SYS_NICE or RLIMIT_NICE, and without it a full CPU may make a router believe that this edge is gone"
}
