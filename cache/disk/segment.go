package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// A sealed segment has a list of what it holds, in a file of its own: what a restart reads, and what tells when the segment goes which of
// its records still count.
//
//	u32 magic  u32 version  u64 segment  u64 size of the segment  u64 the store's sequence by then  u64 entries
//	entries: u64 hash  u64 sequence  u32 offset/8  u32 size  u32 variant  u32 expires  u8 kind  7 zeros
//	u32 CRC-32C of all above
const (
	listMagic   = 0x314c434e // "NCL1"
	listVersion = 1
	listHeader  = 40
	listEntry   = 40
	// maxListed bounds the records of a segment, and so what the list of the active one takes in memory.
	maxListed = 1 << 18

	logSuffix, listSuffix, tmpSuffix = ".log", ".idx", ".tmp"
)

// segment is a file of the log.
type segment struct {
	number uint32
	file   File
	// guarded by the store's lock
	size   int64 // on disk, its list included
	gone   bool
	synced bool // with its list
}

// listed is one record of a segment.
type listed struct {
	hash, seq        uint64
	place            place
	variant, expires uint32
	kind             kind
}

func logName(n uint32) string  { return fmt.Sprintf("%08x%s", n, logSuffix) }
func listName(n uint32) string { return fmt.Sprintf("%08x%s", n, listSuffix) }

// segmentOf is the number in a segment's file name.
func segmentOf(name, suffix string) (uint32, bool) {
	s, ok := strings.CutSuffix(name, suffix)
	if !ok || len(s) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 32)
	return uint32(n), err == nil && n > 0
}

// encodeList is the list's file.
func encodeList(number uint32, size int64, seq uint64, list []listed) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, listHeader+listEntry*len(list)+4)
	b = le.AppendUint32(b, listMagic)
	b = le.AppendUint32(b, listVersion)
	for _, v := range [...]uint64{uint64(number), uint64(size), seq, uint64(len(list))} {
		b = le.AppendUint64(b, v)
	}
	for i := range list {
		e := &list[i]
		b = le.AppendUint64(b, e.hash)
		b = le.AppendUint64(b, e.seq)
		for _, v := range [...]uint32{e.place.offset, e.place.size, e.variant, e.expires} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, byte(e.kind), 0, 0, 0, 0, 0, 0, 0)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeList reads a list's file; the segment's file has size bytes.
func decodeList(b []byte, number uint32, size int64) (list []listed, seq uint64, err error) {
	le := binary.LittleEndian
	if len(b) < listHeader+4 || le.Uint32(b) != listMagic || le.Uint32(b[4:]) != listVersion || le.Uint64(b[8:]) != uint64(number) ||
		crc32.Checksum(b[:len(b)-4], castagnoli) != le.Uint32(b[len(b)-4:]) {
		return nil, 0, errCorrupt
	}
	n := le.Uint64(b[32:])
	body := b[listHeader : len(b)-4]
	if n > maxListed || len(body) != int(n)*listEntry || le.Uint64(b[16:]) > uint64(size) {
		return nil, 0, errCorrupt
	}
	list = make([]listed, n)
	for i := range list {
		r := body[i*listEntry:]
		e := listed{
			hash: le.Uint64(r), seq: le.Uint64(r[8:]), place: place{number, le.Uint32(r[16:]), le.Uint32(r[20:])},
			variant: le.Uint32(r[24:]), expires: le.Uint32(r[28:]), kind: kind(r[32]),
		}
		if e.kind == 0 || e.kind >= kinds || e.place.size < headerSize || e.place.size > maxRecord || e.place.end() > size {
			return nil, 0, errCorrupt
		}
		list[i] = e
	}
	return list, le.Uint64(b[24:]), nil
}

func (p place) start() int64 { return int64(p.offset) * align }
func (p place) end() int64   { return p.start() + int64(p.size) }

// readAll reads a file.
func readAll(f File) ([]byte, error) {
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > listHeader+listEntry*maxListed+4 {
		return nil, errCorrupt
	}
	b := make([]byte, n)
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// readFull fills b from that offset on.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
