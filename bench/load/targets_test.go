package load

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
)

func plans(t testing.TB, o Options) *plan {
	t.Helper()
	o.Requests, o.Duration = 1, 0
	p, err := newPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		url  string
		pick pick
		want string
	}{
		{"http://h", pick{}, "/"},
		{"http://h?a=b", pick{}, "/?a=b"},
		{"http://h/%7Ea/b%2Fc?d=e+f#g", pick{}, "/%7Ea/b%2Fc?d=e+f"},
		{"http://h/{key}/x?again={key}", pick{key: 17}, "/17/x?again=17"},
		{"http://h/{key}/x", pick{key: 17, miss: 3}, "/N-3/x"},
		{"http://h/x", pick{miss: 12}, "/x?miss=N-12"},
		{"http://h/x?a=b", pick{miss: 12}, "/x?a=b&miss=N-12"},
	} {
		p := plans(t, Options{URL: tt.url, nonce: "N"})
		if got := string(p.targets.appendPath(nil, tt.pick)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.url, got, tt.want)
		}
	}
	p := plans(t, Options{URL: "http://h/{size}/{key}.{size}", Sizes: []int64{10, 2048}, Keys: 5})
	if got := string(p.targets.appendPath(nil, pick{form: 1, key: 4})); got != "/2048/4.2048" || p.targets.wantLength(pick{form: 1}) != 2048 {
		t.Errorf("sizes: %q", got)
	}
	p = plans(t, Options{URL: "http://h/{size}", Sizes: []int64{10}, Method: http.MethodHead})
	if p.targets.wantLength(pick{}) != -1 {
		t.Error("HEAD has no length to expect")
	}
}

// draw chooses n targets.
func draw(c *chooser, n int) (list []pick) {
	for range n {
		list = append(list, c.next())
	}
	return list
}

func TestChoicesDependOnTheSeedAlone(t *testing.T) {
	o := Options{URL: "http://h/{size}/{key}", Sizes: []int64{1, 2, 3}, Keys: 1000, Zipf: 0.9}
	first := draw(plans(t, o).targets.chooser(7, 3), 500)
	if again := draw(plans(t, o).targets.chooser(7, 3), 500); !slices.Equal(first, again) {
		t.Error("the same seed and connection choose otherwise")
	}
	if other := draw(plans(t, o).targets.chooser(8, 3), 500); slices.Equal(first, other) {
		t.Error("another seed chooses the same")
	}
	if other := draw(plans(t, o).targets.chooser(7, 4), 500); slices.Equal(first, other) {
		t.Error("another connection chooses the same")
	}
}

// TestDistribution compares how often each key and size comes with how often it should. The seed is fixed, so that the result is too.
func TestDistribution(t *testing.T) {
	const keys, n = 50, 1_000_000
	for _, s := range []float64{0, 0.7, 1, 1.5} {
		c := plans(t, Options{URL: "http://h/{size}/{key}", Sizes: []int64{1, 2}, Keys: keys, Zipf: s}).targets.chooser(1, 1)
		var count [keys]float64
		var size [2]float64
		for range n {
			p := c.next()
			count[p.key]++
			size[p.form]++
		}
		sum := 0.0
		for k := range keys {
			sum += math.Pow(float64(k+1), -s)
		}
		within := func(what string, got, probability float64) {
			mean := n * probability
			if sigma := math.Sqrt(mean * (1 - probability)); math.Abs(got-mean) > 4*sigma {
				t.Errorf("exponent %v, %s: %.0f times, want %.0f ± %.0f", s, what, got, mean, sigma)
			}
		}
		for k := range keys {
			within(fmt.Sprint("key ", k), count[k], math.Pow(float64(k+1), -s)/sum)
		}
		within("size", size[0], 0.5)
	}
}

func TestZipfOfOneKeyAndOfMany(t *testing.T) {
	p := plans(t, Options{URL: "http://h/{key}", Keys: maxKeys / 16, Zipf: 1.1})
	for _, k := range draw(p.targets.chooser(1, 1), 10_000) {
		if int(k.key) >= maxKeys/16 {
			t.Fatalf("key %d", k.key)
		}
	}
	if p := plans(t, Options{URL: "http://h/"}); p.targets.chooser(1, 1).next() != (pick{}) {
		t.Error("a single target is not the only one")
	}
}

// TestMissRatioIsExact: after every request the number of misses is what the ratio makes it, over all connections.
func TestMissRatioIsExact(t *testing.T) {
	for _, ratio := range []float64{0.001, 0.1, 0.333, 0.5, 0.95, 1} {
		targets := plans(t, Options{URL: "http://h/{key}", Keys: 10, MissRatio: ratio}).targets
		a, b := targets.chooser(1, 1), targets.chooser(1, 2)
		seen, misses := make(map[uint64]bool), 0
		for n := 1; n <= 20_000; n++ {
			c := a
			if n%3 == 0 {
				c = b
			}
			if p := c.next(); p.miss != 0 {
				if seen[p.miss] {
					t.Fatalf("miss %d twice", p.miss)
				}
				seen[p.miss] = true
				misses++
			}
			if want := int(math.Floor(float64(n)*ratio + 1e-4)); misses != want {
				t.Fatalf("ratio %v: %d misses of %d requests, want %d", ratio, misses, n, want)
			}
		}
	}
}

func TestMissesAreNewInEveryRun(t *testing.T) {
	word := func() string {
		return string(plans(t, Options{URL: "http://h/x", MissRatio: 1}).targets.appendPath(nil, pick{miss: 1}))
	}
	if a, b := word(), word(); a == b {
		t.Errorf("two runs ask for %s", a)
	}
}

func TestMissesReachTheServerOnce(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		o.URL, o.Keys, o.MissRatio, o.Requests, o.nonce = o.URL+"/k{key}", 2, 0.25, 100, "N"
		if r := mustRun(t, o); r.OK != 100 {
			t.Errorf("%+v", r)
		}
		if asked := s.asked(); asked["/k0"]+asked["/k1"] != 75 || len(asked) != 27 || asked["/kN-25"] != 1 {
			t.Errorf("%v", asked)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		why string
		o   Options
	}{
		{"no host", Options{URL: "http:///x"}},
		{"no scheme", Options{URL: "127.0.0.1:80"}},
		{"unknown protocol", Options{URL: "http://h/", Protocol: "spdy"}},
		{"HTTP/3 without TLS", Options{URL: "http://h/", Protocol: HTTP3}},
		{"streams of HTTP/1.1", Options{URL: "http://h/", Streams: 2}},
		{"a method that is none", Options{URL: "http://h/", Method: "GE T"}},
		{"CONNECT", Options{URL: "http://h/", Method: "CONNECT"}},
		{"a body of GET", Options{URL: "http://h/", BodySize: 1}},
		{"a field that splits", Options{URL: "http://h/", Header: []Field{{"A", "b\r\nC: d"}}}},
		{"framing by hand", Options{URL: "http://h/", Header: []Field{{"Transfer-Encoding", "chunked"}}}},
		{"keys without a place", Options{URL: "http://h/", Keys: 2}},
		{"sizes without a place", Options{URL: "http://h/", Sizes: []int64{1}}},
		{"a place without sizes", Options{URL: "http://h/{size}"}},
		{"a ratio above 1", Options{URL: "http://h/", MissRatio: 1.1}},
		{"no number for a ratio", Options{URL: "http://h/", MissRatio: math.NaN()}},
		{"a negative exponent", Options{URL: "http://h/{key}", Keys: 2, Zipf: -1}},
		{"a rate of NaN", Options{URL: "http://h/", Rate: math.NaN()}},
		{"handshakes without TLS", Options{URL: "http://h/", Handshakes: Full}},
		{"other handshakes", Options{URL: "https://h/", Handshakes: "half"}},
		{"two ends", Options{URL: "http://h/", Duration: 1}},
	} {
		tt.o.Requests = 1
		if _, err := newPlan(tt.o); err == nil {
			t.Errorf("%s was taken", tt.why)
		}
	}
	if _, err := newPlan(Options{URL: "http://h/"}); err == nil {
		t.Error("a run without an end was taken")
	}
}
