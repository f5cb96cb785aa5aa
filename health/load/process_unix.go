//go:build unix

package load

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the time of processors that this process has used.
func processTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// descriptorLimit is RLIMIT_NOFILE as it is now, 0 without one.
func descriptorLimit() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if n := uint64(l.Cur); n < math.MaxInt64 {
		return n, nil
	}
	return 0, nil
}
