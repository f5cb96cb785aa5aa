package disk

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record, in little endian order:
//
//	header  80 bytes, below
//	key     keyLen
//	meta    metaLen
//	sums    4 bytes a chunk of the body
//	body    bodyLen
//	        zeros to a multiple of 8
//
// The header:
//
//	 0  u32 magic       4  u8 kind      5  u8 version    6  u16 0
//	 8  u64 sequence   16  u64 hash    24  u32 variant  28  u32 expires, in seconds since 1970, 0: never
//	32  u32 keyLen     36  u32 metaLen 40  u32 bodyLen  44  u32 part: the number of a part; of a head, how many
//	48  u64 length of the whole body    56  u64 generation of its parts
//	64  u64 segment    72  u32 0       76  u32 CRC-32C of all above, key, meta and sums
const (
	headerSize    = 80
	recordMagic   = 0x3152434e // "NCR1"
	recordVersion = 1
	chunkSize     = 64 << 10 // of a body, with a checksum of its own
	partSize      = 1 << 20  // a larger body is stored in parts
	maxKey        = 64 << 10
	maxMeta       = 1 << 20
	maxRecord     = headerSize + maxKey + maxMeta + partSize + partSize/chunkSize*4 + 8
	align         = 8
)

// kind is what a record is.
type kind uint8

const (
	kindObject  kind = 1 + iota // with its body
	kindHead                    // of a body in parts
	kindPart                    // of a body
	kindDelete                  // ends all variants of a hash
	kindReplace                 // ends one variant of a hash
	kinds
)

// header is a record's header.
type header struct {
	kind                     kind
	seq, hash                uint64
	variant, expires         uint32
	keyLen, metaLen, bodyLen uint32
	part                     uint32
	length, generation       uint64
	segment                  uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCorrupt: what was read is not what was written.
var errCorrupt = errors.New("disk: the record is damaged")

func chunksOf(body uint32) int { return int((uint64(body) + chunkSize - 1) / chunkSize) }

// prefix is the size of everything before the body.
func (h *header) prefix() int {
	return headerSize + int(h.keyLen) + int(h.metaLen) + 4*chunksOf(h.bodyLen)
}

// size is the size of the whole record.
func (h *header) size() int { return (h.prefix() + int(h.bodyLen) + align - 1) &^ (align - 1) }

// appendRecord appends a record to b. body's pieces are bodyLen bytes together.
func appendRecord(b []byte, h *header, key, meta []byte, body [][]byte) []byte {
	start := len(b)
	h.keyLen, h.metaLen, h.bodyLen = uint32(len(key)), uint32(len(meta)), 0
	for _, p := range body {
		h.bodyLen += uint32(len(p))
	}
	b = appendHeader(b, h)
	b = append(append(b, key...), meta...)
	sums := len(b)
	for range chunksOf(h.bodyLen) {
		b = append(b, 0, 0, 0, 0)
	}
	from := len(b)
	for _, p := range body {
		b = append(b, p...)
	}
	for i, rest := 0, b[from:]; len(rest) > 0; i++ {
		c := rest[:min(len(rest), chunkSize)]
		binary.LittleEndian.PutUint32(b[sums+4*i:], crc32.Checksum(c, castagnoli))
		rest = rest[len(c):]
	}
	for (len(b)-start)%align != 0 {
		b = append(b, 0)
	}
	seal(b[start:], from-start)
	return b
}

// seal writes the checksum of a record whose body begins at prefix.
func seal(rec []byte, prefix int) {
	sum := crc32.Checksum(rec[:headerSize-4], castagnoli)
	sum = crc32.Update(sum, castagnoli, rec[headerSize:prefix])
	binary.LittleEndian.PutUint32(rec[headerSize-4:], sum)
}

func appendHeader(b []byte, h *header) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, recordMagic)
	b = append(b, byte(h.kind), recordVersion, 0, 0)
	b = le.AppendUint64(b, h.seq)
	b = le.AppendUint64(b, h.hash)
	for _, v := range [...]uint32{h.variant, h.expires, h.keyLen, h.metaLen, h.bodyLen, h.part} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, h.length)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.segment)
	return le.AppendUint64(b, 0)
}

// parseHeader reads a header without verifying it: only its lengths are sure to be within bounds.
func parseHeader(b []byte) (h header, err error) {
	le := binary.LittleEndian
	if len(b) < headerSize || le.Uint32(b) != recordMagic || b[5] != recordVersion || b[4] == 0 || kind(b[4]) >= kinds {
		return h, errCorrupt
	}
	h = header{
		kind: kind(b[4]), seq: le.Uint64(b[8:]), hash: le.Uint64(b[16:]), variant: le.Uint32(b[24:]), expires: le.Uint32(b[28:]),
		keyLen: le.Uint32(b[32:]), metaLen: le.Uint32(b[36:]), bodyLen: le.Uint32(b[40:]), part: le.Uint32(b[44:]),
		length: le.Uint64(b[48:]), generation: le.Uint64(b[56:]), segment: le.Uint64(b[64:]),
	}
	if h.keyLen > maxKey || h.metaLen > maxMeta || h.bodyLen > partSize {
		return header{}, errCorrupt
	}
	if (h.kind == kindDelete || h.kind == kindReplace) && h.keyLen|h.metaLen|h.bodyLen != 0 { // which must not be taken for one that is cut short
		return header{}, errCorrupt
	}
	return h, nil
}

// verifyPrefix checks a record's checksum. b has at least h.prefix() bytes.
func verifyPrefix(b []byte, h *header) bool {
	sum := crc32.Checksum(b[:headerSize-4], castagnoli)
	sum = crc32.Update(sum, castagnoli, b[headerSize:h.prefix()])
	return sum == binary.LittleEndian.Uint32(b[headerSize-4:])
}

// parsed is a verified header with its parts.
type parsed struct {
	header
	key, meta, sums []byte
}

// parsePrefix reads and verifies everything before the body.
func parsePrefix(b []byte) (p parsed, err error) {
	h, err := parseHeader(b)
	if err != nil {
		return p, err
	}
	if len(b) < h.prefix() || !verifyPrefix(b, &h) {
		return p, errCorrupt
	}
	rest := b[headerSize:h.prefix()]
	p.header = h
	p.key, rest = rest[:h.keyLen:h.keyLen], rest[h.keyLen:]
	p.meta, p.sums = rest[:h.metaLen:h.metaLen], rest[h.metaLen:]
	return p, nil
}

// chunkRange is where chunk i stands in the body.
func (p *parsed) chunkRange(i int) (from, to int) {
	return i * chunkSize, min((i+1)*chunkSize, int(p.bodyLen))
}

// verifyChunk checks the bytes of chunk i.
func (p *parsed) verifyChunk(i int, chunk []byte) bool {
	return crc32.Checksum(chunk, castagnoli) == binary.LittleEndian.Uint32(p.sums[4*i:])
}
