package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("disk: no such record")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("disk: closed")
)

const (
	// MinSize is the smallest budget.
	MinSize = 64 << 20
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
	// Index bounds the memory in bytes that the index takes, some 40 for a record: with more records the oldest go. 0: no bound but Size.
	Index int64
	// FS is used in the place of Path when it is not nil.
	FS  FS
	Log *slog.Logger
	Set *metrics.Set
	// Keep, when not nil, is asked before a record is appended anew because its segment goes: whether it is still good for something. It must
	// not keep its arguments.
	Keep func(key, meta []byte) bool
	// Anew has what is there removed.
	Anew bool
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Store is safe for concurrent use.
type Store struct {
	// immutable
	fs          FS
	log         *slog.Logger
	now         func() time.Time
	keep        func(key, meta []byte) bool
	anew        bool
	limit       int64
	segmentSize int64
	maxRecords  int // in the index
	listLimit   int // records of a segment
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
	overdue atomic.Int64 // reads that have not ended in time
	closing chan struct{}
	stop    chan struct{} // closed when the writer has ended
	once    sync.Once
	tasks   sync.WaitGroup
	sealed  sync.WaitGroup
}

// Open opens the store and starts its goroutines. What is stored is found little by little; until then it is a miss.
func Open(o Options) (*Store, error) {
	if o.Size < MinSize {
		return nil, fmt.Errorf("disk: the size must be at least %d bytes", int64(MinSize))
	}
	s := &Store{
		fs: o.FS, log: o.Log, now: o.Now, keep: o.Keep, anew: o.Anew, limit: o.Size, segmentSize: o.Segment, segments: make(map[uint32]*segment),
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
	s.maxRecords, s.listLimit = math.MaxInt, maxListed
	if o.Index > 0 {
		s.maxRecords = int(max(o.Index/indexCost, minRecords))
		s.listLimit = min(maxListed, s.maxRecords/16)
	}
	if s.fs == nil {
		fs, err := OpenDir(o.Path)
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
		s.awaitReads()
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
