package disk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("disk: no such record")
	// ErrBusy: too many reads are under way for this one to begin in time.
	ErrBusy = errors.New("disk: too many reads are under way")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("disk: closed")
)

const (
	// MinSize is the smallest budget.
	MinSize = 64 << 20
	// readSlots bounds the reads under way, readWait how long another one waits for its turn.
	readSlots = 64
	readWait  = 100 * time.Millisecond
)

// Options is what a store is made of. Path and Size are needed.
type Options struct {
	// Path is the directory. It is made when it is not there; its parent must be.
	Path string
	// Size is the budget in bytes of everything in the directory, at least MinSize.
	Size int64
	// Segment is the size of a segment's file. 0: a 64th of Size, a power of two from 4 to 256 MiB.
	Segment int64
	// QueueBytes bounds the bodies that wait to be written. 0: 32 MiB.
	QueueBytes int64
	// FS is used in the place of Path when it is not nil.
	FS  FS
	Log *slog.Logger
	Set *metrics.Set
	// Keep, when not nil, is asked before a record is appended anew because its segment goes: whether it is still good for something, events
	// included. What it keeps gets a sequence number from after the question, so that events that all records have been held against
	// can be forgotten.
	Keep func(key, meta []byte, seq uint64) bool
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Store is safe for concurrent use.
type Store struct {
	// immutable
	fs          FS
	log         *slog.Logger
	now         func() time.Time
	keep        func(key, meta []byte, seq uint64) bool
	limit       int64
	segmentSize int64
	salt        [32]byte
	lock        io.Closer
	meters      *meters

	index  index
	queue  queue
	events events
	slots  chan struct{}
	w      writer // the writer's own

	mu       sync.RWMutex
	segments map[uint32]*segment
	order    []*segment // sealed, the oldest first
	used     int64      // bytes of all segments, the active one at its full size

	status  atomic.Pointer[Status]
	failed  atomic.Pointer[error] // of the goroutine that syncs, for the writer
	loaded  chan struct{}
	seals   chan sealing
	unsaved atomic.Pointer[segment] // holds deletions that are not synced
	streams atomic.Int64
	// oldestActive is not above the sequence number of any object in the active segment or waiting.
	oldestActive atomic.Uint64
	closing      chan struct{}
	stop         chan struct{} // closed when the writer has ended
	once         sync.Once
	tasks        sync.WaitGroup
	sealed       sync.WaitGroup
}

// Open opens the store and starts its goroutines. What is stored is found little by little; until then it is a miss.
func Open(o Options) (*Store, error) {
	if o.Size < MinSize {
		return nil, fmt.Errorf("disk: the size must be at least %d bytes", int64(MinSize))
	}
	s := &Store{
		fs: o.FS, log: o.Log, now: o.Now, keep: o.Keep, limit: o.Size, segmentSize: o.Segment, segments: make(map[uint32]*segment),
		slots: make(chan struct{}, readSlots), loaded: make(chan struct{}), seals: make(chan sealing, 4), closing: make(chan struct{}), stop: make(chan struct{}),
	}
	s.queue = queue{limit: o.QueueBytes, wake: make(chan struct{}, 1)}
	if s.queue.limit == 0 {
		s.queue.limit = defQueueBytes
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.segmentSize == 0 {
		s.segmentSize = segmentSizeOf(o.Size)
	}
	if s.fs == nil {
		fs, err := openDir(o.Path)
		if err != nil {
			return nil, err
		}
		s.fs = fs
	}
	s.setStatus(Loading, nil)
	found, err := s.enter()
	if err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		s.closeFiles()
		return nil, err
	}
	s.meters = newMeters(s, o.Set)
	s.index.startLoading()
	s.tasks.Go(func() { s.load(found) })
	s.tasks.Go(s.write)
	s.sealed.Go(s.seal)
	return s, nil
}

// segmentSizeOf is the default size of a segment.
func segmentSizeOf(size int64) int64 {
	n := int64(4 << 20)
	for n < 256<<20 && n*64 < size {
		n *= 2
	}
	return n
}

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
	if dirty {
		if names, err = s.startAnew(names); err != nil {
			return nil, fmt.Errorf("disk: %w", err)
		}
	}
	if err := s.readFormat(known); err != nil {
		return nil, err
	}
	if err := s.openEvents(); err != nil {
		return nil, err
	}
	return s.openSegments(names)
}

// startAnew empties a directory that holds what has been deleted.
func (s *Store) startAnew(names []string) (kept []string, err error) {
	s.log.Warn("the disk cache starts anew: the last process could not write its deletions")
	for _, n := range names {
		if strings.HasSuffix(n, logSuffix) || strings.HasSuffix(n, listSuffix) {
			if err := s.fs.Remove(n); err != nil {
				return nil, err
			}
			continue
		}
		kept = append(kept, n)
	}
	if err := s.fs.Sync(); err != nil {
		return nil, err
	}
	return kept, s.fs.Rename(dirtyName, formatName)
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

// Hash is the hash of a key in this directory. Nobody else can choose keys that collide.
func (s *Store) Hash(key []byte) uint64 {
	var buf [512]byte
	sum := sha256.Sum256(append(append(buf[:0], s.salt[:]...), key...))
	return binary.LittleEndian.Uint64(sum[:])
}

// Seq is the number of the last operation: every record and event that comes has a higher one, after a restart too.
func (s *Store) Seq() uint64 {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.seq
}

// Object is a record to be stored.
type Object struct {
	Hash uint64 // of Key, by [Store.Hash]
	// Variant tells records of one key apart: a new one takes the place of the one with the same variant.
	Variant uint32
	// Expires is when the record is worth nothing any more: it may go when space is needed. Zero: never.
	Expires   time.Time
	Key, Meta []byte   // at most 64 KiB and 1 MiB
	Body      [][]byte // must not change until Release
	// Release is called once, when Body is no longer needed; after Put has returned false too.
	Release func()
	// Replaces, when not nil, says of the key's other variants whether this one makes them obsolete.
	Replaces func(key, meta []byte) bool
}

// Put queues a record. It never blocks. When it is dropped, because too much waits or the disk fails, what it would have replaced is deleted all the same.
func (s *Store) Put(o Object) bool {
	p := &op{key: o.Key, meta: o.Meta, body: o.Body, release: o.Release, replaces: o.Replaces}
	p.header = header{kind: kindObject, hash: o.Hash, variant: o.Variant, expires: seconds(o.Expires)}
	for _, b := range o.Body {
		p.length += uint64(len(b))
	}
	p.size = int64(p.length) + int64(len(o.Key)+len(o.Meta)) + headerSize
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if p.expires != 0 && !o.Expires.After(s.now()) {
		s.supersede(p)
		return false
	}
	if len(o.Key) <= maxKey && len(o.Meta) <= maxMeta && s.queue.add(p) {
		return true
	}
	s.drop(p)
	return false
}

func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix()+1, 1), 1<<32-1))
}

// drop counts an object that is not written, and deletes what it would have replaced. The queue is locked.
func (s *Store) drop(p *op) {
	s.meters.dropped.Inc()
	s.supersede(p)
}

// supersede deletes what an object that is not written would have replaced. The queue is locked.
func (s *Store) supersede(p *op) {
	s.remove(p.hash, p.variant, p.replaces != nil)
	p.done()
}

// Delete removes every variant of the hash. It holds at once; that it holds after a crash too is sure when a [Store.Flush] after it has returned.
func (s *Store) Delete(hash uint64) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.remove(hash, 0, true)
}

// DeleteVariant removes one variant of the hash.
func (s *Store) DeleteVariant(hash uint64, variant uint32) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.remove(hash, variant, false)
}

// remove deletes. The queue is locked, so nothing is published meanwhile.
func (s *Store) remove(hash uint64, variant uint32, all bool) {
	known := s.queue.supersede(hash, variant, all)
	k := kindReplace
	if all {
		k = kindDelete
		known = s.index.removeAll(hash) > 0 || known
	} else {
		known = s.index.removeVariant(hash, variant) > 0 || known
		s.index.bury(ident{hash: hash, variant: variant})
	}
	if !known && s.State() != Loading {
		return
	}
	s.tombstone(hash, variant, k)
}

// tombstone queues a deletion; with too many of them everything on disk goes. The queue is locked.
func (s *Store) tombstone(hash uint64, variant uint32, k kind) {
	if s.queue.deletes >= maxDeletes {
		s.wipe()
		return
	}
	s.queue.add(&op{header: header{kind: k, hash: hash, variant: variant}})
}

// Clear removes everything.
func (s *Store) Clear() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.wipe()
}

// wipe gives up all that is stored. The queue is locked.
func (s *Store) wipe() {
	for _, list := range [...][]*op{s.queue.flight, s.queue.ops} {
		for _, o := range list {
			o.gone = true
		}
	}
	kept := s.queue.ops[:0]
	for _, o := range s.queue.ops {
		if o.isDelete() {
			s.queue.deletes--
			continue
		}
		if !o.wipe {
			kept = append(kept, o)
		}
	}
	clear(s.queue.ops[len(kept):])
	s.queue.ops = kept
	s.index.giveUp()
	s.queue.add(&op{wipe: true})
}

// Flush waits until everything that has been queued is written, or dropped.
func (s *Store) Flush(ctx context.Context) error {
	o := &op{flushed: make(chan struct{})}
	s.queue.mu.Lock()
	if s.queue.closed {
		s.queue.mu.Unlock()
		return ErrClosed
	}
	s.queue.add(o)
	s.queue.mu.Unlock()
	select {
	case <-o.flushed:
		return nil
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close writes what is queued, seals the active segment, and ends the goroutines. What can't be written is given up.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.queue.mu.Lock()
		s.queue.closed = true
		s.queue.mu.Unlock()
		close(s.closing)
		s.tasks.Wait()
		close(s.seals)
		s.sealed.Wait()
		s.closeFiles()
		s.lock.Close()
		s.setStatus(Closed, nil)
	})
	return nil
}

func (s *Store) closeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		g.file.Close()
	}
	if s.events.file != nil {
		s.events.file.Close()
	}
}
