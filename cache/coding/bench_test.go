package coding

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// catalogue is JSON of about n bytes, as an API of a shop would answer it.
func catalogue(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("silver oak lamp chair small large table linen blue grey walnut desk shelf set of four outdoor folding cover handle brass")
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"sku":"%08x","title":"`, 100000+i, rng.Uint32())
		for j := range 4 + rng.IntN(5) {
			if j > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(words[rng.IntN(len(words))])
		}
		fmt.Fprintf(&b, `","price":{"amount":%d.%02d,"currency":"EUR"},"in_stock":%t,"rating":%.1f,"image":"https://img.shop.example/%d/%x.webp"}`,
			rng.IntN(900), rng.IntN(100), rng.IntN(3) > 0, 1+rng.Float64()*4, i, rng.Uint64())
	}
	b.WriteString("]}")
	return []byte(b.String())
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// processorTime is what the process has used, in nanoseconds: on a machine that others use as well, it says more than the time that has passed.
func processorTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkEncode is the cost of one coded form of 100 KiB of JSON.
func BenchmarkEncode(b *testing.B) {
	src := catalogue(100 << 10)
	for _, tt := range []struct {
		c      Coding
		levels []int
	}{{Gzip, []int{1, 6, 9}}, {Zstd, []int{1, 3, 7, 11}}, {Brotli, []int{3, 4, 5, 6, 7, 8, 9, 10, 11}}} {
		for _, level := range tt.levels {
			b.Run(fmt.Sprintf("%v-%d", tt.c, level), func(b *testing.B) {
				var n counter
				b.ReportAllocs()
				start := processorTime()
				for b.Loop() {
					n = 0
					w, err := NewEncoder(tt.c, &n, level, int64(len(src)))
					if err != nil {
						b.Fatal(err)
					}
					w.Write(src)
					w.Close()
				}
				b.ReportMetric(float64(processorTime()-start)/1e3/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(n)/float64(len(src))*100, "%size")
			})
		}
	}
}
