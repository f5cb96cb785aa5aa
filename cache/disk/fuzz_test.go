package disk

import (
	"bytes"
	"testing"
)

func FuzzRecord(f *testing.F) {
	h := header{kind: kindObject, seq: 7, hash: 9, variant: 3, segment: 1}
	rec := appendRecord(nil, &h, []byte("key"), []byte("meta"), [][]byte{[]byte("body"), make([]byte, chunkSize)})
	f.Add(rec, 3)
	f.Add(rec[:headerSize+3], 0)
	h = header{kind: kindDelete}
	f.Add(appendRecord(nil, &h, nil, nil, nil), 12)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		p, err := parsePrefix(b)
		if err != nil {
			return
		}
		var body []byte
		for i := range chunksOf(p.bodyLen) {
			from, to := p.chunkRange(i)
			if p.prefix()+to > len(b) {
				return
			}
			c := b[p.prefix():][from:to]
			if !p.verifyChunk(i, c) {
				return
			}
			body = append(body, c...)
		}
		h := p.header
		again := appendRecord(nil, &h, p.key, p.meta, [][]byte{body})
		q, err := parsePrefix(again)
		if err != nil || q.header != p.header || !bytes.Equal(q.key, p.key) || !bytes.Equal(q.meta, p.meta) || !bytes.Equal(q.sums, p.sums) {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
		if n := p.prefix(); n > 0 { // no single octet may change
			i := ((at % n) + n) % n
			damaged := bytes.Clone(again)
			damaged[i] ^= 1
			if q, err := parsePrefix(damaged); err == nil {
				t.Fatalf("octet %d changed and %+v passed", i, q)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	f.Add(encodeList(4, 1<<20, 99, []listed{{hash: 1, seq: 2, place: place{4, 0, 80}, kind: kindObject}, {hash: 3, seq: 4, place: place{4, 10, 800}, kind: kindDelete}}), int64(1<<20))
	f.Add(encodeList(4, 0, 0, nil), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		list, seq, err := decodeList(b, 4, size)
		if err != nil {
			return
		}
		for _, e := range list {
			if e.place.end() > size {
				t.Fatalf("%+v is outside", e)
			}
		}
		if again, seq2, err := decodeList(encodeList(4, size, seq, list), 4, size); err != nil || seq2 != seq || len(again) != len(list) {
			t.Fatal("does not come back")
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add(appendEvent(appendEvent(nil, Event{1, []byte("a")}), Event{2, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, good := decodeEvents(b)
		if good > len(b) {
			t.Fatal("beyond the end")
		}
		var again []byte
		for _, e := range list {
			again = appendEvent(again, e)
		}
		if !bytes.Equal(again, b[:good]) {
			t.Fatal("does not come back")
		}
	})
}

// FuzzScan reads a log of rubbish.
func FuzzScan(f *testing.F) {
	h := header{kind: kindObject, segment: 1}
	f.Add(appendRecord(appendRecord(nil, &h, []byte("key"), nil, nil), &h, []byte("k"), nil, [][]byte{make([]byte, 100)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := newFaulty(t)
		got, err := scan(&memFile{fs, b}, 1)
		list, end := got.list, got.end
		if err != nil || end > int64(len(b)) {
			t.Fatal(end, err)
		}
		for _, e := range list {
			if e.place.end() > end {
				t.Fatalf("%+v", e)
			}
		}
	})
}
