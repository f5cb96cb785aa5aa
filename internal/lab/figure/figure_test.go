package figure

import "testing"

// Of ten runs the 95th percentile is the worst, so that a single bad run shows.
func TestPercentileIsTheNearestRank(t *testing.T) {
	ten := []float64{10, 1, 9, 2, 8, 3, 7, 4, 6, 5}
	for _, c := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{ten, 50, 5}, {ten, 95, 10}, {ten, 90, 9}, {ten, 0, 1}, {ten, 100, 10},
		{[]float64{3}, 50, 3}, {[]float64{3}, 95, 3}, {[]float64{1, 2}, 50, 1}, {[]float64{1, 2}, 95, 2},
	} {
		if got, ok := Percentile(c.values, c.p); !ok || got != c.want {
			t.Errorf("the %gth of %v is %g, %v, not %g", c.p, c.values, got, ok, c.want)
		}
	}
	if _, ok := Percentile(nil, 50); ok {
		t.Error("a percentile of nothing")
	}
	if ten[0] != 10 {
		t.Error("the values were sorted in place")
	}
}
