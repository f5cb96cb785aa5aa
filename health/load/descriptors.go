package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// descriptors counts the open file descriptors.
type descriptors struct {
	count func() (uint64, error)
	limit func() (uint64, error) // 0: none
}

// Sample implements Source.
func (d *descriptors) Sample(time.Time) (Reading, error) {
	limit, err := d.limit()
	if err != nil {
		return Reading{}, err
	}
	if limit == 0 {
		return Reading{}, ErrNoLimit
	}
	open, err := d.count()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return Reading{Value: 1, Detail: "none left to count them with"}, nil
	}
	if err != nil {
		return Reading{}, err
	}
	return Reading{float64(open) / float64(limit), fmt.Sprintf("%d of %d", open, limit)}, nil
}

// countFiles is how many entries a directory like /proc/self/fd has. Since Linux 6.2 its size says so, without a descriptor and without a look at
// each; before, it is 0 and the directory is read.
func countFiles(dir string) (uint64, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	if n := info.Size(); n > 0 {
		return uint64(n), nil
	}
	return countEntries(dir)
}

func countEntries(dir string) (uint64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for n := 0; ; {
		names, err := f.Readdirnames(1024)
		n += len(names)
		if errors.Is(err, io.EOF) {
			return uint64(n), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
