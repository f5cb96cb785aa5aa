package report

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"nearcast/bench/table"
)

// WriteMarkdown writes the tables. plot is the name, without .svg, of the plot that lies beside it.
func (r Report) WriteMarkdown(to io.Writer, plot string) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "# nearcast and its peers, %s\n\n", r.Date.Format("2006-01-02"))
	fmt.Fprintf(w, "Commit %s. %s, %d cores, %g GiB, %s, %s; load average at the start %s.\n", r.Commit, r.Machine.CPU, r.Machine.Cores, r.Machine.Memory,
		r.Machine.Kernel, r.Machine.Go, r.Machine.Load)
	fmt.Fprintf(w, "%d pairs a row, %g s a run after %g s to warm up; %.0f minutes in all.\n\n", r.Rounds, r.Duration, r.Warmup, r.Took/60)
	if r.Rounds < EnoughRounds {
		fmt.Fprintf(w, "**A quick look: %d pairs are too few for a verdict, which needs %d.**\n\n", r.Rounds, EnoughRounds)
	}
	if rows := r.disturbed(); rows != "" {
		fmt.Fprintf(w, "**Disturbed: more than a tenth of the server's core went to something else in %s.** Measure these again on a quiet machine.\n\n", rows)
	}
	fmt.Fprintf(w, "Ours and the peer's are medians of CPU time a request of the server's own processes (idle connections: resident memory of one); the ratio is the median of the pairs' ratios, "+
		"with the lowest and the highest. Lower is better. [How it is measured](../../docs/benchmarks.md).\n\n")
	fmt.Fprintf(w, "![ratios](%s.svg)\n\n", plot)
	r.verdicts(w)
	r.details(w)
	r.failures(w)
	fmt.Fprintf(w, "## Servers\n\n")
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(w, "- %s: %s\n", name, r.Versions[name])
	}
	return w.Flush()
}

func (r Report) verdicts(w io.Writer) {
	fmt.Fprintf(w, "| case | against | ours | peer | ratio | target | verdict |\n|---|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		aim, verdict := "–", string(row.Verdict)
		if row.Row.Target > 0 {
			aim = fmt.Sprintf("%.2f", row.Row.Target)
		}
		if row.Verdict == table.Missed || row.Verdict == table.Failed {
			verdict = "**" + verdict + "**"
		}
		if len(row.Pairs) == 0 {
			fmt.Fprintf(w, "| %s | %s | – | – | – | %s | %s |\n", row.Row.Title, row.Row.Peer, aim, verdict)
			continue
		}
		unit := strings.TrimSuffix(row.Row.Unit(), "/request")
		unit = strings.TrimSuffix(unit, "/connection")
		fmt.Fprintf(w, "| %s | %s | %s %s | %s %s | %.2f (%.2f–%.2f) | %s | %s |\n", row.Row.Title, row.Row.Peer, figure(row.Ours.Value), unit,
			figure(row.Peer.Value), unit, row.Ratio, row.Lowest, row.Highest, aim, verdict)
	}
	fmt.Fprintln(w)
}

// details are the figures that explain the others.
func (r Report) details(w io.Writer) {
	fmt.Fprintf(w, "## Throughput\n\nRequests a second, latency as the load saw it, and how busy the cores were: the server's own processes / everything on its core / everything on the load's core. "+
		"Where the load's core is full and the server's is not, requests a second say how fast the load is; CPU time a request does not depend on that.\n\n")
	fmt.Fprintf(w, "| row | server | requests/s | p50 | p99 | busy |\n|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		if len(row.Pairs) == 0 || row.Row.Idle {
			continue
		}
		for _, side := range []struct {
			name string
			table.Sample
		}{{"nearcast", row.Ours}, {row.Row.Peer, row.Peer}} {
			fmt.Fprintf(w, "| %s | %s | %.0f | %s µs | %s µs | %.0f/%.0f/%.0f %% |\n", row.Row.ID(), side.name, side.PerSecond, figure(side.P50), figure(side.P99),
				100*side.Server, 100*side.ServerCore, 100*side.LoadCore)
		}
	}
	fmt.Fprintln(w)
}

func (r Report) failures(w io.Writer) {
	title := "## Failed\n\n"
	for _, row := range r.Rows {
		if row.Verdict == table.Failed {
			fmt.Fprintf(w, "%s- %s: %s\n", title, row.Row.ID(), strings.Join(strings.Fields(row.Error), " "))
			title = ""
		}
	}
	if title == "" {
		fmt.Fprintln(w)
	}
}

// figure has three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
