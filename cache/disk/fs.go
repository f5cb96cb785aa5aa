package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// FS is the directory that holds a store, by plain names.
type FS interface {
	// Create makes a file for writing and reading; one of that name is emptied.
	Create(name string) (File, error)
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	List() ([]string, error)
	// Sync makes created, renamed and removed names durable.
	Sync() error
	// Lock takes the directory for this process; ErrLocked when another one has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
}

// ErrLocked: another process uses the directory.
var ErrLocked = errors.New("disk: another process uses the directory")

// dir is the FS of a directory of the operating system.
type dir string

// OpenDir returns the directory, which is made when it is not there (its parent must be).
func OpenDir(path string) (FS, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if st, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("disk: %s is not a directory", path)
	}
	return dir(path), nil
}

func (d dir) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d dir) Create(name string) (File, error) { return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC) }
func (d dir) Open(name string) (File, error)   { return d.open(name, os.O_RDWR) }
func (d dir) Remove(name string) error         { return os.Remove(filepath.Join(string(d), name)) }

func (d dir) Rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d dir) List() ([]string, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d dir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d dir) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return f, nil
}

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
