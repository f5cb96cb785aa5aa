package disk

import (
	"bytes"
	"encoding/binary"
)

// scanWindow is what a scan reads at once.
const scanWindow = 256 << 10

// scanned is what a scan has found in a segment without a list.
type scanned struct {
	list []listed
	seq  uint64
	end  int64 // behind the last record of the list
	// damaged: there was more than what a crash leaves of a record that was being written. It may have been a deletion, and so nothing in this
	// segment or an older one counts any more.
	damaged bool
}

// window reads a file from the front to the back.
type window struct {
	f    File
	size int64
	from int64 // of buf in the file
	buf  []byte
	err  error
}

// need returns n bytes from that place on; false when there are not so many, or they can't be read.
func (w *window) need(at int64, n int) ([]byte, bool) {
	if at+int64(n) > w.size {
		return nil, false
	}
	if at < w.from || at+int64(n) > w.from+int64(len(w.buf)) {
		want := int(min(int64(max(n, scanWindow)), w.size-at))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.buf, w.from = w.buf[:want], at
		if w.err = readFull(w.f, w.buf, at); w.err != nil {
			w.buf = w.buf[:0]
			return nil, false
		}
	}
	return w.buf[at-w.from:][:n], true
}

// record reads the header of the whole record at that place.
func (w *window) record(at int64, number uint32) (h header, ok bool) {
	b, ok := w.need(at, headerSize)
	if !ok {
		return h, false
	}
	h, err := parseHeader(b)
	if err != nil || h.segment != uint64(number) || at+int64(h.size()) > w.size {
		return h, false
	}
	b, ok = w.need(at, h.prefix())
	return h, ok && verifyPrefix(b, &h)
}

// scan lists the records of a segment without a list, up to the first that is damaged or torn: nothing behind it can be told from rubbish.
func scan(f File, number uint32) (found scanned, err error) {
	size, err := f.Size()
	if err != nil {
		return found, err
	}
	w := &window{f: f, size: size}
	for len(found.list) < maxListed {
		h, ok := w.record(found.end, number)
		if !ok {
			break
		}
		found.list = append(found.list, listed{h.hash, h.seq, place{number, uint32(found.end / align), uint32(h.size())}, h.variant, h.expires, h.kind})
		found.seq = max(found.seq, h.seq)
		found.end += int64(h.size())
	}
	if w.err == nil {
		found.damaged = !w.torn(found.end, number)
	}
	return found, w.err
}

// torn reports whether what there is from that place on can be the beginning of one record, before zeros that a loss of power may have left.
func (w *window) torn(at int64, number uint32) bool {
	size := w.size
	defer func() { w.size = size }()
	if end := max(w.dataEnd(at), at); size-end >= align { // fewer zeros are a record's own, or a flipped bit's
		w.size = end
	}
	b, ok := w.need(at, headerSize)
	if !ok {
		return w.err == nil
	}
	h, err := parseHeader(b)
	if err != nil || h.segment != uint64(number) || at+int64(h.size()+1-align) <= w.size {
		return false // no beginning, or a whole record, but for its padding
	}
	if b, ok = w.need(at, h.prefix()); ok {
		return verifyPrefix(b, &h)
	}
	// Its lengths may be what is damaged: then there are records behind it.
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	for at += align; at+headerSize <= w.size && w.err == nil; at += align {
		if b, ok := w.need(at, headerSize); !ok || !bytes.HasPrefix(b, magic) {
			continue
		}
		if _, ok := w.record(at, number); ok {
			return false
		}
	}
	return w.err == nil
}

// dataEnd is where the zeros at the end of the file begin.
func (w *window) dataEnd(from int64) int64 {
	end := w.size
	for end > from {
		n := min(end-from, scanWindow)
		b, ok := w.need(end-n, int(n))
		if !ok {
			return end
		}
		if kept := len(bytes.TrimRight(b, "\x00")); kept > 0 {
			return end - n + int64(kept)
		}
		end -= n
	}
	return end
}
