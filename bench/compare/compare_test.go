package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nearcast/bench/load"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fake measures nothing: each side's figures come from a list.
type fake struct {
	cpu   map[string][]float64
	order []string
	n     map[string]int
}

func (f *fake) run(_ context.Context, s Side) (*load.Report, error) {
	f.order = append(f.order, s.Name)
	if f.n == nil {
		f.n = make(map[string]int)
	}
	i := f.n[s.Name]
	f.n[s.Name]++
	r := &load.Report{Result: &load.Result{PerSecond: 1000 / f.cpu[s.Name][i], Latency: load.Latency{P50: 10, P99: int64(100 * f.cpu[s.Name][i])}}}
	if s.PIDs != nil {
		r.Server = &load.Cost{CPUMicros: f.cpu[s.Name][i], RSS: 1 << 20, CPUs: 0.5}
	}
	return r, nil
}

func sides() []Side {
	return []Side{{Name: "ours", URL: "http://a/", PIDs: []int{1}}, {Name: "nginx", URL: "http://b/", PIDs: []int{2}}, {Name: "far", URL: "http://c/"}}
}

func figures() *fake {
	return &fake{cpu: map[string][]float64{
		"ours":  {2, 3, 2, 2, 40}, // the machine was busy in the second and the last round
		"nginx": {4, 6, 5, 4, 80},
		"far":   {1, 1, 1, 1, 1},
	}}
}

func TestRoundsAlternateAndMediansAreOfRatios(t *testing.T) {
	f := figures()
	r, err := Compare(t.Context(), sides(), 5, f.run)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Repeat([]string{"ours", "nginx", "far"}, 5); !slices.Equal(f.order, want) {
		t.Errorf("order %v", f.order)
	}
	if r.Rounds != 5 || r.Sides[0].Median.CPUMicros != 2 || r.Sides[1].Median.CPUMicros != 5 || r.Sides[2].Median.CPUMicros != 0 || len(r.Sides[1].Runs) != 5 {
		t.Errorf("%+v", r)
	}
	want := []Ratio{
		{First: "ours", Other: "nginx", CPU: &Spread{0.5, 0.4, 0.5, []float64{0.5, 0.5, 0.4, 0.5, 0.5}}},
		{First: "ours", Other: "far"},
	}
	for i := range want {
		if got := r.Ratios[i]; got.First != want[i].First || got.Other != want[i].Other || !reflect.DeepEqual(got.CPU, want[i].CPU) {
			t.Errorf("ratio %d: %+v %+v", i, got, got.CPU)
		}
	}
	if p := r.Ratios[0].PerSecond; p == nil || p.Median != 2 || p.Min != 2 || p.Max != 2.5 {
		t.Errorf("requests a second: %+v", p)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.json", append(b, '\n'))
	var table bytes.Buffer
	r.WriteTable(&table)
	golden(t, "compare.txt", table.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func TestInterruptKeepsWholeRounds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := figures()
	r, err := Compare(ctx, sides(), 5, func(ctx context.Context, s Side) (*load.Report, error) {
		if len(f.order) == 7 { // in the midst of the third round
			cancel()
		}
		return f.run(ctx, s)
	})
	if err != nil || r.Rounds != 2 || len(r.Sides[0].Runs) != 2 || len(r.Ratios[0].CPU.Rounds) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Compare(ctx, sides(), 5, figures().run); err == nil {
		t.Error("no round at all is no result")
	}
}

func TestFailedRequestsAreCountedAndErrorsNamed(t *testing.T) {
	f := figures()
	r, err := Compare(t.Context(), sides(), 5, func(ctx context.Context, s Side) (*load.Report, error) {
		report, err := f.run(ctx, s)
		if s.Name == "nginx" {
			report.Failed = 3
		}
		return report, err
	})
	if err != nil || r.Failed != 15 {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = Compare(t.Context(), sides(), 5, func(context.Context, Side) (*load.Report, error) { return nil, errors.New("broken") })
	if err == nil || err.Error() != "ours: broken" {
		t.Error(err)
	}
}

func TestComparisonsThatSayNothingAreRefused(t *testing.T) {
	two := sides()[:2]
	for _, tt := range []struct {
		sides  []Side
		rounds int
		want   string
	}{{two[:1], 5, "two sides"}, {two, 4, "at least 5 rounds"}, {append(two, two[0]), 5, "called ours"}} {
		if _, err := Compare(t.Context(), tt.sides, tt.rounds, figures().run); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d sides, %d rounds: %v", len(tt.sides), tt.rounds, err)
		}
	}
}

func TestParseSide(t *testing.T) {
	for text, want := range map[string]Side{
		"ours=https://127.0.0.1:8443/x@42":     {"ours", "https://127.0.0.1:8443/x", []int{42}},
		"a=http://h/?q=1@2,3":                  {"a", "http://h/?q=1", []int{2, 3}},
		"a=http://h/":                          {"a", "http://h/", nil},
		"a=http://user@host/":                  {"a", "http://user@host/", nil},
		"a=http://h/p@ckage@7":                 {"a", "http://h/p@ckage", []int{7}},
		"two words=http://h/{size}?{key}@1,02": {"two words", "http://h/{size}?{key}", []int{1, 2}},
	} {
		if got, err := ParseSide(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "http://h/", "=http://h/", "a="} {
		if got, err := ParseSide(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(tt.values); got != tt.want {
			t.Errorf("%v: %v", tt.values, got)
		}
	}
}
