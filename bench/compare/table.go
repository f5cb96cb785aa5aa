package compare

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes the comparison for people.
func (r *Result) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "Medians of %d rounds\n\n", r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "side\tCPU µs/request\trequests/s\tp50 µs\tp99 µs\tCPUs\tRSS MiB\tfailed\t")
	for i := range r.Sides {
		s, failed := &r.Sides[i], int64(0)
		for _, run := range s.Runs {
			failed += run.Failed
		}
		m := s.Median
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t%d\t\n", s.Name, known(m.CPUMicros, "%.2f"), m.PerSecond, m.P50, m.P99,
			known(m.CPUs, "%.2f"), known(m.RSS/(1<<20), "%.1f"), failed)
	}
	t.Flush()
	fmt.Fprintln(w)
	fmt.Fprintln(t, "ratio\tCPU µs/request\tleast to most\trequests/s\tleast to most\tp99\tleast to most\t")
	for _, x := range r.Ratios {
		fmt.Fprintf(t, "%s : %s\t%s\t%s\t%s\t\n", x.First, x.Other, x.CPU, x.PerSecond, x.P99)
	}
	return t.Flush()
}

// known is a figure, or a dash for one that is not there.
func known(x float64, format string) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf(format, x)
}

// String is two cells of the table.
func (s *Spread) String() string {
	if s == nil {
		return "-\t-"
	}
	return fmt.Sprintf("%.2f\t%.2f to %.2f", s.Median, s.Min, s.Max)
}
