package hitratio

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var requests = flag.Int("requests", 0, "print the table, of traces of so many requests")

// TestTable prints the table that bench/results has:
//
//	go test ./bench/hitratio -run Table -requests 1000000 -v
func TestTable(t *testing.T) {
	if *requests == 0 {
		t.Skip("-requests is not given")
	}
	Table(os.Stdout, Run(*requests, []float64{0.01, 0.1}, Policies), Policies)
}

// fixed is a policy that keeps nothing but the object it was made with.
type fixed struct{ key uint64 }

func (f fixed) Get(r Request) bool { return r.Key == f.key }

func TestPlayCountsAfterTheFirstFifth(t *testing.T) {
	trace := []Request{{1, 10}, {1, 10}, {2, 30}, {1, 10}, {2, 30}}
	if r := play(trace, fixed{1}); r.Hits != 0.5 || r.Bytes != 0.25 {
		t.Errorf("%+v", r)
	}
	if n := footprint(trace); n != 40 {
		t.Errorf("%d bytes", n)
	}
}

// TestPoliciesKeepToTheirCapacity, and find again what they keep.
func TestPoliciesKeepToTheirCapacity(t *testing.T) {
	const capacity = 4 << 20
	for _, m := range Policies {
		p := m.Make(capacity)
		for range 4 {
			for k := range uint64(20) {
				p.Get(Request{k, 10_000})
			}
		}
		if !p.Get(Request{7, 10_000}) {
			t.Errorf("%s does not find what it must have", m.Name)
		}
		found := int64(0)
		for k := range uint64(2000) {
			p.Get(Request{100 + k, 10_000})
		}
		for k := range uint64(2000) { // newest first, as a miss stores
			if !p.Get(Request{2099 - k, 10_000}) {
				break
			}
			found += 10_000
		}
		if found > capacity {
			t.Errorf("%s keeps %d bytes of %d", m.Name, found, capacity)
		}
	}
}

// TestTheStoreIsAsGoodAsItsModel: the store's hits are those of S3-FIFO by bytes, but for the memory that it needs beyond the bodies.
func TestTheStoreIsAsGoodAsItsModel(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	trace := Traces[1].Make(40_000)
	capacity := footprint(trace) / 10
	model, store := play(trace, newS3(capacity*3/4, 0.1, 1, false)), play(trace, newStore(capacity))
	if store.Hits < model.Hits {
		t.Errorf("%.3f, less than the model with three quarters of the memory, %.3f", store.Hits, model.Hits)
	}
}

func TestTableHasARowForEachTraceAndShare(t *testing.T) {
	var b strings.Builder
	Table(&b, Run(200, []float64{0.1, 0.5}, Policies[:2]), Policies[:2])
	if strings.Count(b.String(), "\n") != 2*len(Traces)+2 {
		t.Errorf("another table:\n%s", b.String())
	}
}
