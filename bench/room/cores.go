package room

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Cores are the two cores that a measurement uses.
type Cores struct {
	Server int // the server's alone
	Load   int // the load's and the origin's
}

// pickCores takes the first two that this process may use.
func pickCores() (Cores, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return Cores{}, fmt.Errorf("which cores there are: %w", err)
	}
	var usable []int
	for cpu := 0; cpu < 8*len(set)*8 && len(usable) < 2; cpu++ {
		if set.IsSet(cpu) {
			usable = append(usable, cpu)
		}
	}
	if len(usable) < 2 {
		return Cores{}, fmt.Errorf("measuring side by side needs two cores, one for the server and one for the load; this process may use %d", len(usable))
	}
	return Cores{Server: usable[0], Load: usable[1]}, nil
}
