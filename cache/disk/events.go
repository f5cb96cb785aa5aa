package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
)

// Events are small notes of the caller's that must hold after a restart, such as purges of many records at once. They are in a file of
// their own, from which a restart reads them before anything is served:
//
//	u32 magic  u32 length  u64 sequence  data  u32 CRC-32C of all above
const (
	eventsName  = "events"
	eventMagic  = 0x3145434e // "NCE1"
	eventHeader = 16
	maxEvent    = 64 << 10
	maxEvents   = 1 << 16
	maxEventLog = 8 << 20
	trimEvents  = 1024 // more of them are looked through for those that are of no use any more
)

// Event is a note, with its place among the records: it stands behind those with a lower Seq.
type Event struct {
	Seq  uint64
	Data []byte
}

type events struct {
	mu     sync.Mutex
	file   File
	size   int64
	list   []Event
	trimAt int
}

func (e *events) last() uint64 {
	if len(e.list) == 0 {
		return 0
	}
	return e.list[len(e.list)-1].Seq
}

// space is what the events may take on disk, an old and a new file together.
func (e *events) space() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return 2*e.size + 2*maxEvent
}

func appendEvent(b []byte, e Event) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, eventMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	b = binary.LittleEndian.AppendUint64(b, e.Seq)
	b = append(b, e.Data...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// decodeEvents reads events up to the first that is damaged, and says where that begins.
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

func (s *Store) openEvents() error {
	e := &s.events
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if !slices.Contains(names, eventsName) {
		e.file, err = s.fs.Create(eventsName)
	} else {
		e.file, err = s.fs.Open(eventsName)
	}
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	size, err := e.file.Size()
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	b := make([]byte, min(size, maxEventLog+maxEvent))
	if err := readFull(e.file, b, 0); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	list, good := decodeEvents(b)
	e.list, e.size = list, int64(good)
	return nil
}

// Events returns the events, the oldest first. They must not be modified.
func (s *Store) Events() []Event {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return slices.Clone(s.events.list)
}

// AppendEvent notes an event of at most 64 KiB. When it returns without an error, the event survives a crash and a loss of power. When the
// event can't be written, everything on disk is given up, so that what it was about holds all the same.
// It waits for the disk.
func (s *Store) AppendEvent(data []byte) (seq uint64, err error) {
	if len(data) > maxEvent {
		return 0, fmt.Errorf("disk: an event of %d bytes is too large", len(data))
	}
	e := &s.events
	e.mu.Lock()
	defer e.mu.Unlock()
	s.queue.mu.Lock()
	if s.queue.closed {
		s.queue.mu.Unlock()
		return 0, ErrClosed
	}
	s.queue.seq++
	ev := Event{s.queue.seq, slices.Clone(data)}
	s.queue.mu.Unlock()
	if len(e.list) >= max(e.trimAt, trimEvents) {
		s.trim()
	}
	b := appendEvent(nil, ev)
	if len(e.list) >= maxEvents || e.size+int64(len(b)) > maxEventLog {
		s.log.Warn("the disk cache holds too many events; it starts anew")
		s.Clear()
		return ev.Seq, s.rewriteEvents([]Event{ev})
	}
	if err = writeFull(e.file, b, e.size); err == nil {
		err = e.file.Sync()
	}
	e.list = append(e.list, ev)
	if err != nil {
		s.Clear()
		return ev.Seq, fmt.Errorf("disk: event: %w", err)
	}
	e.size += int64(len(b))
	return ev.Seq, nil
}

// trim forgets the events that are older than every record.
func (s *Store) trim() {
	e := &s.events
	e.trimAt = 2 * len(e.list)
	if s.State() == Loading {
		return
	}
	// What waits and what the active segment holds is not older than this.
	oldest := s.oldestActive.Load()
	s.mu.RLock()
	for _, g := range s.order {
		oldest = min(oldest, g.oldest)
	}
	s.mu.RUnlock()
	kept := e.list
	for len(kept) > 1 && kept[0].Seq < oldest { // the last one has the caller's last number
		kept = kept[1:]
	}
	if len(kept) < len(e.list) {
		if err := s.rewriteEvents(slices.Clone(kept)); err != nil {
			s.log.Warn("the events of the disk cache can't be rewritten", "error", err)
		}
	}
	e.trimAt = max(2*len(e.list), trimEvents)
}

// rewriteEvents replaces the file.
func (s *Store) rewriteEvents(list []Event) error {
	var b []byte
	for _, e := range list {
		b = appendEvent(b, e)
	}
	if err := s.replaceFile(eventsName, b); err != nil {
		return fmt.Errorf("disk: events: %w", err)
	}
	f, err := s.fs.Open(eventsName)
	if err != nil {
		return fmt.Errorf("disk: events: %w", err)
	}
	s.events.file.Close()
	s.events.file, s.events.list, s.events.size = f, list, int64(len(b))
	return nil
}
