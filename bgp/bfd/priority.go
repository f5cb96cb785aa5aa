package bfd

// priority is how the thread of the sessions is scheduled.
type priority int32

const (
	priorityNone     priority = iota // the thread does not run
	priorityDeadline                 // SCHED_DEADLINE
	priorityNice                     // nice -20
	priorityNormal                   // like everything else
	numPriorities
)

var priorityNames = [numPriorities]string{"none", "deadline", "nice", "normal"}

var priorityTexts = [numPriorities]string{
	priorityDeadline: "the sessions' thread goes before all others of this machine (SCHED_DEADLINE)",
	priorityNice:     "the sessions' thread goes before this process's others (nice -20); before all of this machine it would with SCHED_DEADLINE, which the system refused",
	priorityNormal: "the sessions' thread has no raised priority, and a full CPU may make a router believe that this edge is gone; " +
		"give the process CAP_SYS_NICE for it (AmbientCapabilities= in its systemd unit)",
}
