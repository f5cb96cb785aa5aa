package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
)

// firstRead is what the first read of a record fetches at most: all of a small one.
const firstRead = 128 << 10

// Record is a record that has been found. Its header, key and meta are verified; its body is verified as it is read. It is used by one
// goroutine at a time, and needs no closing: when its segment goes meanwhile, reads fail.
type Record struct {
	Key, Meta []byte
	// Length is the body's length in bytes.
	Length int64
	// Seq is the sequence number of the record.
	Seq uint64
	// Variant is what it was stored with.
	Variant uint32
	// Patient has reads wait up to ten seconds, also for a disk that is slow already: somebody has got the beginning of the body.
	Patient bool

	s    *Store
	seg  *segment
	at   place
	p    parsed
	data []byte // what has been read of the record
	part *Record
}

// Get returns the newest record of the hash that match accepts, ErrNotFound when there is none, ErrBusy when too many other reads are under way. It
// waits for the disk, [ErrSlow] after two seconds for each read. match must not keep its arguments, which stay unchanged; the last
// that it has accepted is the one.
func (s *Store) Get(ctx context.Context, hash uint64, match func(key, meta []byte) bool) (*Record, error) {
	return s.GetAmong(ctx, hash, func(uint32) bool { return true }, match)
}

// GetAmong is Get of the variants that among accepts: the others are not read.
func (s *Store) GetAmong(ctx context.Context, hash uint64, among func(variant uint32) bool, match func(key, meta []byte) bool) (*Record, error) {
	var buf [4]found
	all := slices.DeleteFunc(s.index.find(buf[:0], hash, kindObject), func(f found) bool { return !among(f.variant) })
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	rd := &reading{ctx: ctx}
	var newest *Record
	for _, f := range all { // their order in the log is no longer that of their storing when one has been moved
		r, err := s.open(rd, hash, f)
		if unanswered(err) {
			return nil, err
		}
		if err != nil || !s.complete(r, s.index.has) {
			s.forget(hash, f)
			continue
		}
		if (newest == nil || newest.Seq < r.Seq) && match(r.Key, r.Meta) {
			newest = r
		}
	}
	if newest == nil {
		return nil, ErrNotFound
	}
	s.index.touch(hash, kindObject, newest.at)
	s.complete(newest, s.index.heat)
	s.meters.reads.Inc()
	return newest, nil
}

// Has reports whether there may be a record of the hash, without waiting for anything but a short lock.
func (s *Store) Has(hash uint64) bool { return s.index.has(hash, kindObject) }

func (s *Store) segment(n uint32) *segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.segments[n]
}

// open reads and verifies the beginning of a record.
func (s *Store) open(rd *reading, hash uint64, f found) (*Record, error) {
	return s.openAt(rd, hash, f, firstRead)
}

// openAt is open with a first read of that size.
func (s *Store) openAt(rd *reading, hash uint64, f found, first int) (*Record, error) {
	g := s.segment(f.segment)
	if g == nil {
		return nil, ErrNotFound
	}
	data := make([]byte, min(int(f.size), first))
	if err := s.fetch(rd, g, data, f.start()); err != nil {
		return nil, err
	}
	h, err := parseHeader(data)
	if err != nil || h.size() != int(f.size) || h.hash != hash || h.segment != uint64(g.number) {
		return nil, errCorrupt
	}
	if n := h.prefix(); n > len(data) {
		data = make([]byte, n)
		if err := s.fetch(rd, g, data, f.start()); err != nil {
			return nil, err
		}
	}
	p, err := parsePrefix(data)
	if err != nil {
		return nil, err
	}
	length := int64(p.bodyLen)
	if p.kind == kindHead {
		length = int64(p.length)
	}
	return &Record{Key: p.key, Meta: p.meta, Length: length, Seq: p.seq, Variant: p.variant, s: s, seg: g, at: f.place, p: p, data: data}, nil
}

// forget takes a record that can't be read out of the index, and sees to it that a restart doesn't bring it back.
func (s *Store) forget(hash uint64, f found) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.index.remove(hash, f.kind, f.place) {
		s.meters.readErrors.Inc()
		if f.kind != kindPart {
			s.tombstone(hash, f.variant, kindReplace)
		}
	}
}

// Chunk returns bytes of the body from that offset on, verified: up to the end of the 64 KiB that hold it. They don't change. It waits for the
// disk as Get does, or as long as Patient says.
func (r *Record) Chunk(ctx context.Context, offset int64) ([]byte, error) {
	if offset < 0 || offset >= r.Length {
		return nil, ErrNotFound
	}
	rd := &reading{ctx, r.Patient}
	body := r
	if r.p.kind == kindHead {
		n := uint32(offset / partSize)
		if r.part == nil || r.part.p.part != n {
			part, err := r.s.openPart(rd, r, n)
			if err != nil {
				return nil, err
			}
			r.part = part
		}
		body, offset = r.part, offset%partSize
	}
	c, err := body.chunk(rd, offset)
	if err != nil && !unanswered(err) && body.reopen(rd) {
		c, err = body.chunk(rd, offset)
	}
	return c, err
}

// reopen finds the record again that has been moved since it was opened. Key, Meta and Seq stay what they were.
func (r *Record) reopen(rd *reading) bool {
	for _, f := range r.s.index.find(nil, r.p.hash, r.p.kind) {
		if f.variant != r.p.variant || f.place == r.at {
			continue
		}
		n, err := r.s.open(rd, r.p.hash, f)
		if err == nil && n.p.bodyLen == r.p.bodyLen && bytes.Equal(n.Key, r.Key) && bytes.Equal(n.Meta, r.Meta) && bytes.Equal(n.p.sums, r.p.sums) {
			r.seg, r.at, r.p, r.data = n.seg, n.at, n.p, n.data
			return true
		}
	}
	return false
}

// chunk is Chunk of a record with its body.
func (r *Record) chunk(rd *reading, offset int64) ([]byte, error) {
	i := int(offset / chunkSize)
	from, to := r.p.chunkRange(i)
	if int(offset) >= to {
		return nil, errCorrupt
	}
	at := r.p.prefix() + from
	var c []byte
	if end := r.p.prefix() + to; end <= len(r.data) {
		c = r.data[at:end:end]
	} else {
		c = make([]byte, to-from)
		if err := r.s.fetch(rd, r.seg, c, r.at.start()+int64(at)); err != nil {
			if !unanswered(err) {
				r.damaged()
			}
			return nil, err
		}
	}
	if !r.p.verifyChunk(i, c) {
		r.damaged()
		return nil, errCorrupt
	}
	return c[int(offset)-from:], nil
}

func (r *Record) damaged() {
	r.s.forget(r.p.hash, found{r.at, r.p.variant, r.p.kind})
}

// partRef says whose a part is; it is the part's key.
type partRef struct {
	hash       uint64
	variant    uint32
	generation uint64
}

const partRefSize = 20

func (f partRef) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, f.hash)
	b = binary.LittleEndian.AppendUint32(b, f.variant)
	return binary.LittleEndian.AppendUint64(b, f.generation)
}

func parsePartRef(b []byte) (f partRef, ok bool) {
	if len(b) != partRefSize {
		return f, false
	}
	le := binary.LittleEndian
	return partRef{le.Uint64(b), le.Uint32(b[8:]), le.Uint64(b[12:])}, true
}

// hashOf is the hash of part i.
func (f partRef) hashOf(i uint32) uint64 {
	x := f.hash ^ f.generation*0x9e3779b97f4a7c15 ^ uint64(i)*0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

func (r *Record) ref() partRef { return partRef{r.p.hash, r.p.variant, r.p.generation} }

// complete reports whether there is every part of a body that is in parts.
func (s *Store) complete(r *Record, has func(hash uint64, k kind) bool) bool {
	if r.p.kind != kindHead {
		return true
	}
	if int64(r.p.part) != (r.Length+partSize-1)/partSize {
		return false
	}
	ref := r.ref()
	for i := range r.p.part {
		if !has(ref.hashOf(i), kindPart) {
			return false
		}
	}
	return true
}

// openPart opens a part of r's body.
func (s *Store) openPart(rd *reading, r *Record, n uint32) (*Record, error) {
	ref := r.ref()
	hash := ref.hashOf(n)
	for _, f := range s.index.find(nil, hash, kindPart) {
		part, err := s.open(rd, hash, f)
		if err != nil {
			if !unanswered(err) {
				s.forget(hash, f)
			}
			return nil, err
		}
		if got, ok := parsePartRef(part.Key); ok && got == ref && part.p.part == n && part.p.generation == ref.generation {
			return part, nil
		}
	}
	return nil, ErrNotFound
}

// ReadAll returns the whole body, verified, in pieces of at most 64 KiB that are the caller's.
func (r *Record) ReadAll(ctx context.Context) ([][]byte, error) {
	var body [][]byte
	for at := int64(0); at < r.Length; {
		c, err := r.Chunk(ctx, at)
		if err != nil {
			return nil, err
		}
		body = append(body, c)
		at += int64(len(c))
	}
	return body, nil
}
