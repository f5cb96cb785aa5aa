package load

import (
	"errors"
	"io"
	"os"
)

// maxFile is as much as is read of a file of the kernel's. What is looked for stands in their beginnings.
const maxFile = 16 << 10

// file is a file that the kernel writes anew for each reading. It is opened once and stays open: a process that has no descriptors left
// still learns how it is.
type file struct {
	path string
	f    *os.File
	buf  []byte
}

// read returns what the file holds now, maxFile bytes at most. They are valid until the next call.
func (f *file) read() ([]byte, error) {
	if f.f == nil {
		opened, err := os.Open(f.path)
		if err != nil {
			return nil, err
		}
		f.f = opened
	}
	if f.buf == nil {
		f.buf = make([]byte, maxFile)
	}
	n, err := f.f.ReadAt(f.buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.close() // a cgroup that was removed; another may have its name by the next time
		return nil, err
	}
	return f.buf[:n], nil
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
		f.f = nil
	}
}
