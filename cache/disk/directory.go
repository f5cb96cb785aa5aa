package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	formatName = "nearcast-cache"
	formatLine = "nearcast disk cache 1\n"
	lockName   = "lock"
	dirtyName  = "nearcast-cache.dirty" // formatName's other name, while deletions could not be written
)

// enter takes the directory and looks for segments.
func (s *Store) enter() (found []unlisted, err error) {
	names, err := s.fs.List()
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	dirty := slices.Contains(names, dirtyName)
	known := dirty || slices.Contains(names, formatName)
	for _, n := range names {
		if !known && n != lockName && n != "lost+found" && n != formatName+tmpSuffix {
			return nil, fmt.Errorf("disk: the directory is not empty and not a nearcast cache (it holds %q): name another one, or empty it", n)
		}
	}
	if s.lock, err = s.fs.Lock(lockName); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if known && !dirty {
		if err := s.readFormat(true); err != nil {
			return nil, err
		}
	}
	switch {
	case dirty:
		names, err = s.startAnew(names, "the last process could not write its deletions")
	case s.anew && known:
		names, err = s.startAnew(names, "it is not known what has changed since it was in use")
	case known && !slices.Contains(names, eventsName) && slices.ContainsFunc(names, isLog):
		names, err = s.startAnew(names, "its events are missing")
	}
	if err == nil && (dirty || !known) {
		err = s.readFormat(known)
	}
	if err != nil {
		return nil, err
	}
	sound, err := s.openEvents(names)
	if err == nil && !sound {
		if names, err = s.startAnew(names, "its events are damaged"); err == nil {
			err = s.cutEvents()
		}
	}
	if err != nil {
		return nil, err
	}
	return s.openSegments(names)
}

func isLog(name string) bool { return strings.HasSuffix(name, logSuffix) }

// startAnew takes all records out of a directory, in which may be some that have been deleted. Events stay.
func (s *Store) startAnew(names []string, why string) (kept []string, err error) {
	s.log.Warn("the disk cache starts anew: " + why)
	for _, n := range names {
		if isLog(n) || strings.HasSuffix(n, listSuffix) {
			if err := s.fs.Remove(n); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("disk: %w", err)
			}
			continue
		}
		kept = append(kept, n)
	}
	if err := s.fs.Sync(); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if slices.Contains(names, dirtyName) {
		if err := s.fs.Rename(dirtyName, formatName); err != nil {
			return nil, fmt.Errorf("disk: %w", err)
		}
	}
	return kept, nil
}

// readFormat reads, or writes, the file that says what the directory is, and holds the salt of the hashes.
func (s *Store) readFormat(known bool) error {
	if !known {
		if _, err := rand.Read(s.salt[:]); err != nil {
			return fmt.Errorf("disk: %w", err)
		}
		if err := s.replaceFile(formatName, append([]byte(formatLine), s.salt[:]...)); err != nil {
			return fmt.Errorf("disk: %w", err)
		}
		return nil
	}
	f, err := s.fs.Open(formatName)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	defer f.Close()
	b, err := readAll(f)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if len(b) != len(formatLine)+len(s.salt) || string(b[:len(formatLine)]) != formatLine {
		return errors.New("disk: the directory holds the cache of another version: name another one, or empty it")
	}
	copy(s.salt[:], b[len(formatLine):])
	return nil
}

// replaceFile writes a whole file; after a crash it is the old or the new one.
func (s *Store) replaceFile(name string, b []byte) error {
	f, err := s.fs.Create(name + tmpSuffix)
	if err != nil {
		return err
	}
	if err = writeFull(f, b, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.fs.Rename(name+tmpSuffix, name)
	}
	if err == nil {
		return s.fs.Sync()
	}
	_ = s.fs.Remove(name + tmpSuffix) // the first error tells more
	return err
}

func writeFull(f io.WriterAt, b []byte, at int64) error {
	n, err := f.WriteAt(b, at)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
