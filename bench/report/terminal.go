package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"nearcast/bench/table"
)

// WriteTable writes the verdicts for a terminal.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "row\tours\tpeer\tunit\tratio\tfrom\tto\ttarget\tverdict")
	for _, row := range r.Rows {
		aim := "-"
		if row.Row.Target > 0 {
			aim = fmt.Sprintf("%.2f", row.Row.Target)
		}
		if len(row.Pairs) == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t%s\t-\t-\t-\t%s\t%s\n", row.Row.ID(), row.Row.Unit(), aim, row.Verdict)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%s\t%s\n", row.Row.ID(), figure(row.Ours.Value), figure(row.Peer.Value), row.Row.Unit(),
			row.Ratio, row.Lowest, row.Highest, aim, row.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Verdict == table.Failed {
			fmt.Fprintf(w, "%s: %s\n", row.Row.ID(), row.Error)
		}
	}
	if r.Rounds < EnoughRounds {
		fmt.Fprintf(w, "A quick look: %d pairs a row are too few for a verdict, which needs %d.\n", r.Rounds, EnoughRounds)
	}
	if rows := r.disturbed(); rows != "" {
		fmt.Fprintf(w, "Disturbed, more than a tenth of the server's core went to something else: %s\n", rows)
	}
	return nil
}
