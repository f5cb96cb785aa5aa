package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
)

// Events are small notes of the caller's that must hold after a restart, such as purges of many records at once. They are in a file of
// their own, from which a restart reads them before anything is served:
//
//	u32 magic  u32 length  u64 sequence  data  u32 CRC-32C of all above
//
// The file may end in the middle of an event that was being written. Any other damage may have been an event that holds, and so everything on
// disk is given up.
const (
	eventsName  = "events"
	eventMagic  = 0x3145434e // "NCE1"
	eventHeader = 16
	maxEvent    = 64 << 10
	maxEvents   = 1 << 16
	maxEventLog = 8 << 20
)

// errEvents: the file holds no more.
var errEvents = errors.New("disk: too many events")

// Event is a note, with its place among the records: it stands behind those with a lower Seq.
type Event struct {
	Seq  uint64
	Data []byte
}

type events struct {
	mu    sync.Mutex
	file  File // nil: to be opened again
	torn  bool // a write has failed: there may be rubbish behind the last event
	found []Event

	count, size atomic.Int64 // read without the lock, which is held while the disk is waited for
}

// space is what the events may take on disk, an old and a new file together.
func (e *events) space() int64 { return 2*e.size.Load() + 2*maxEvent }

func appendEvent(b []byte, e Event) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, eventMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	b = binary.LittleEndian.AppendUint64(b, e.Seq)
	b = append(b, e.Data...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// decodeEvents reads events up to the first that is not whole, and says where that begins.
func decodeEvents(b []byte) (list []Event, good int) {
	le := binary.LittleEndian
	for len(list) < maxEvents {
		r := b[good:]
		if len(r) < eventHeader+4 || le.Uint32(r) != eventMagic {
			break
		}
		n := int(min(le.Uint32(r[4:]), maxEvent+1))
		if n > maxEvent || len(r) < eventHeader+n+4 || crc32.Checksum(r[:eventHeader+n], castagnoli) != le.Uint32(r[eventHeader+n:]) {
			break
		}
		list = append(list, Event{le.Uint64(r[8:]), slices.Clone(r[eventHeader : eventHeader+n])})
		good += eventHeader + n + 4
	}
	return list, good
}

// cutShort reports whether rest, behind the last whole event, can be the beginning of one that was being written, and nothing else.
func cutShort(rest []byte) bool {
	magic := binary.LittleEndian.AppendUint32(nil, eventMagic)
	if !bytes.HasPrefix(rest, magic[:min(len(rest), len(magic))]) {
		return false
	}
	if len(rest) < eventHeader+4 {
		return true
	}
	n := binary.LittleEndian.Uint32(rest[4:])
	if n > maxEvent || len(rest) >= eventHeader+int(n)+4 {
		return false
	}
	// Its length may be what is damaged: then there is the rest of it, and perhaps more events.
	whole := slices.Clone(rest)
	binary.LittleEndian.PutUint32(whole[4:], uint32(len(rest)-eventHeader-4))
	if end := len(whole) - 4; crc32.Checksum(whole[:end], castagnoli) == binary.LittleEndian.Uint32(whole[end:]) {
		return false
	}
	for at := 1; ; at++ {
		i := bytes.Index(rest[at:], magic)
		if i < 0 {
			return true
		}
		at += i
		if list, _ := decodeEvents(rest[at:]); len(list) > 0 {
			return false
		}
	}
}

// openEvents reads the events. sound is false when some may be missing.
func (s *Store) openEvents(names []string) (sound bool, err error) {
	e := &s.events
	if !slices.Contains(names, eventsName) {
		e.file, err = s.fs.Create(eventsName)
	} else {
		e.file, err = s.fs.Open(eventsName)
	}
	if err != nil {
		return false, fmt.Errorf("disk: %w", err)
	}
	list, rest, err := e.read()
	if err != nil {
		return false, fmt.Errorf("disk: %w", err)
	}
	e.found = list
	return !e.torn || rest != nil && cutShort(rest), nil
}

// read reads the file. rest is what stands behind the last whole event; nil when the file is longer than events may be.
func (e *events) read() (list []Event, rest []byte, err error) {
	size, err := e.file.Size()
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, min(size, maxEventLog+maxEvent))
	if err := readFull(e.file, b, 0); err != nil {
		return nil, nil, err
	}
	list, good := decodeEvents(b)
	e.torn = int64(good) < size
	e.count.Store(int64(len(list)))
	e.size.Store(int64(good))
	if int64(len(b)) == size {
		rest = b[good:]
	}
	return list, rest, nil
}

// Events returns the events that were there when the store was opened, the oldest first. They must not be modified. They are kept until [Store.ReplaceEvents].
func (s *Store) Events() []Event {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return s.events.found
}

// EventBytes is the size of the events' file. It may have up to 8 MiB, or 65536 events.
func (s *Store) EventBytes() int64 { return s.events.size.Load() }

// nextEvent numbers an event.
func (s *Store) nextEvent(data []byte) (Event, error) {
	if len(data) > maxEvent {
		return Event{}, fmt.Errorf("disk: an event of %d bytes is too large", len(data))
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.queue.closed {
		return Event{}, ErrClosed
	}
	s.queue.seq++
	return Event{s.queue.seq, data}, nil
}

// AppendEvent notes an event of at most 64 KiB. When it returns without an error, the event survives a crash and a loss of power. When the
// event can't be written, or there are too many, everything on disk is given up, so that what it was about holds all the same.
// It waits for the disk.
func (s *Store) AppendEvent(data []byte) (seq uint64, err error) {
	e := &s.events
	e.mu.Lock()
	defer e.mu.Unlock()
	ev, err := s.nextEvent(data)
	if err != nil {
		return 0, err
	}
	if err := s.appendEvent(ev); err != nil {
		s.Clear()
		return ev.Seq, fmt.Errorf("disk: event: %w", err)
	}
	return ev.Seq, nil
}

// appendEvent writes an event to the file. The events are locked.
func (s *Store) appendEvent(ev Event) error {
	e := &s.events
	b, size := appendEvent(nil, ev), e.size.Load()
	if e.count.Load() >= maxEvents || size+int64(len(b)) > maxEventLog {
		return errEvents
	}
	if err := s.reopenEvents(); err != nil {
		return err
	}
	if e.torn { // a shorter event would leave some of the rubbish behind itself
		if err := e.file.Truncate(size); err != nil {
			return err
		}
	}
	e.torn = true
	if err := writeFull(e.file, b, size); err != nil {
		return err
	}
	if err := e.file.Sync(); err != nil {
		return err
	}
	e.torn = false
	e.size.Store(size + int64(len(b)))
	e.count.Add(1)
	return nil
}

// reopenEvents opens the file when that has failed before.
func (s *Store) reopenEvents() (err error) {
	e := &s.events
	if e.file != nil {
		return nil
	}
	if e.file, err = s.fs.Open(eventsName); err != nil {
		e.file = nil
	}
	return err
}

// ReplaceEvents puts events in the place of all that there are. What of these still holds must be among the new ones, or on disk as deletions
// that a [Store.Sync] has waited for. After a crash it is the old ones or the new. It waits for the disk.
func (s *Store) ReplaceEvents(list [][]byte) error {
	e := &s.events
	e.mu.Lock()
	defer e.mu.Unlock()
	var b []byte
	for _, data := range list {
		ev, err := s.nextEvent(data)
		if err != nil {
			return err
		}
		b = appendEvent(b, ev)
	}
	if len(list) > maxEvents || len(b) > maxEventLog {
		return errEvents
	}
	err := s.replaceFile(eventsName, b)
	// Whether it has failed before the new file had the name or after it, the name says which one counts.
	if e.file != nil {
		e.file.Close()
		e.file = nil
	}
	if err == nil {
		e.found, e.torn = nil, false
		e.count.Store(int64(len(list)))
		e.size.Store(int64(len(b)))
		err = s.reopenEvents()
	} else if oerr := s.recount(); oerr != nil {
		err = oerr
	}
	if err != nil {
		return fmt.Errorf("disk: events: %w", err)
	}
	return nil
}

// recount looks which events the file holds.
func (s *Store) recount() error {
	if err := s.reopenEvents(); err != nil {
		return err
	}
	_, _, err := s.events.read()
	return err
}

// cutEvents takes what is damaged off the file.
func (s *Store) cutEvents() error {
	e := &s.events
	if err := e.file.Truncate(e.size.Load()); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if err := e.file.Sync(); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	e.torn = false
	return nil
}
