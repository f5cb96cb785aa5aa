package disk

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func benchStore(b *testing.B, dir string, size int64) *Store {
	s, err := Open(Options{Path: dir, Size: size})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	<-s.loaded
	return s
}

func benchObject(s *Store, i int, body []byte) Object {
	key := fmt.Appendf(nil, "https://shop.example.com/assets/products/images/thumbnails/%012d.webp", i)
	return Object{Hash: s.Hash(key), Key: key, Meta: make([]byte, 300), Body: [][]byte{body}}
}

func store(b *testing.B, s *Store, o Object) {
	for !s.Put(o) { // the queue is full: a cache would drop it
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1 << 10, 32 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := benchStore(b, b.TempDir(), 4<<30)
			body := pattern("k", 1, n)
			b.SetBytes(int64(n))
			for i := 0; b.Loop(); i++ {
				store(b, s, benchObject(s, i, body))
			}
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1 << 10, 32 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := benchStore(b, b.TempDir(), 4<<30)
			body := pattern("k", 1, n)
			const count = 500
			for i := range count {
				store(b, s, benchObject(s, i, body))
			}
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r, err := s.Get(b.Context(), benchObject(s, i%count, nil).Hash, func(_, _ []byte) bool { return true })
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.ReadAll(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRestart opens a store of NEARCAST_DISK_OBJECTS objects of 1 KiB, by default 100000, once after a clean end and once after a kill.
func BenchmarkRestart(b *testing.B) {
	count := 100000
	if n, err := strconv.Atoi(os.Getenv("NEARCAST_DISK_OBJECTS")); err == nil {
		count = n
	}
	dir := b.TempDir() + "/cache"
	s := benchStore(b, dir, 16<<30)
	body := pattern("k", 1, 1<<10)
	for i := range count {
		store(b, s, benchObject(s, i, body))
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	// What a kill would leave: the active segment without its list.
	killed := b.TempDir() + "/killed"
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		b.Fatal(err)
	}
	s.Close()
	for name, path := range map[string]string{"closed": dir, "killed": killed} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				s, err := Open(Options{Path: path, Size: 16 << 30})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/open")
				<-s.loaded
				n, bytes := s.index.size()
				if n != count {
					b.Fatalf("%d of %d records", n, count)
				}
				b.ReportMetric(float64(bytes)/float64(n), "index-B/object")
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkIndex fills an index, and reports what an entry takes.
func BenchmarkIndex(b *testing.B) {
	const count = 1 << 20
	for b.Loop() {
		x := new(index)
		for i := range uint64(count) {
			x.put(i*0x9e3779b97f4a7c15, 0, kindObject, place{1, uint32(i), 1024})
		}
		n, bytes := x.size()
		b.ReportMetric(float64(bytes)/float64(n), "B/object")
	}
}
