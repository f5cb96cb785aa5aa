package survival

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"nearcast/internal/lab/figure"
)

// Report is what a measurement has shown.
type Report struct {
	Events  []Event  // that were to be played, in order
	Clients []string // that were to take part, in the order of the columns
	Rate    float64  // requests a second of each client
	Runs    []Run
	Took    time.Duration
	Machine string // in words
	// Replayed is how many runs are not in here, because the machine stood still in them and they were played again.
	Replayed int
}

// cell is the runs of a client in an event.
type cell struct {
	client   string
	runs     []Run
	verdicts []Verdict
}

func (r Report) cell(e Event, client string) cell {
	c := cell{client: client}
	for _, run := range r.Runs {
		if run.Event == e.Name && run.Client == client {
			c.runs = append(c.runs, run)
		}
	}
	for _, t := range e.Targets {
		if e.Has(client) && slices.Contains(t.Of, client) {
			c.verdicts = append(c.verdicts, t.Judge(client, c.runs))
		}
	}
	return c
}

// cells are the clients that take part in the event.
func (r Report) cells(e Event) []cell {
	var all []cell
	for _, client := range r.Clients {
		if e.Has(client) {
			all = append(all, r.cell(e, client))
		}
	}
	return all
}

// met reports whether there were runs, every one went through and every target was met.
func (c cell) met() bool {
	for _, v := range c.verdicts {
		if !v.Met {
			return false
		}
	}
	return len(c.runs) > 0 && len(c.errors()) == 0
}

func (c cell) errors() []error {
	var errs []error
	for _, r := range c.runs {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return errs
}

// Missed reports whether any target was missed, or any run did not go through.
func (r Report) Missed() bool {
	for _, e := range r.Events {
		if !r.met(e) {
			return true
		}
	}
	return false
}

// met reports whether the event was played, and with all its clients as it must be.
func (r Report) met(e Event) bool {
	cells := r.cells(e)
	return len(cells) > 0 && !slices.ContainsFunc(cells, func(c cell) bool { return !c.met() })
}

// gap is the median and the 95th percentile of the longest gap, one number when they are the same. A gap that the end of a run cut short is at
// least that long.
func (c cell) gap(m Metric) string {
	values := valuesOf(c.runs, m)
	p50, ok := figure.Percentile(values, 50)
	if !ok {
		return "-"
	}
	p95, _ := figure.Percentile(values, 95)
	text := m.Format(p95)
	if median, _, _ := strings.Cut(m.Format(p50), " "); p50 != p95 {
		text = median + " / " + text
	}
	if total(c.runs, Unanswered) > 0 {
		text = "≥ " + text
	}
	return text
}

// text is the cell of the table: how long, how many failed, how many connections there had to be anew.
func (c cell) text() string {
	if len(c.runs) == 0 {
		return "not played"
	}
	words := []string{}
	switch {
	case len(valuesOf(c.runs, Gap)) > 0:
		words = append(words, c.gap(Gap), fmt.Sprintf("%g of %g", total(c.runs, Failed), total(c.runs, Requests)))
		if begun := total(c.runs, Renewed); begun > 0 {
			words = append(words, fmt.Sprintf("%g new", begun))
		}
	case len(valuesOf(c.runs, Took)) > 0:
		words = append(words, c.gap(Took), fmt.Sprintf("%g of %g", total(c.runs, Failed), total(c.runs, Requests)))
	case len(valuesOf(c.runs, Sender)) > 0:
		words = append(words, c.gap(Sender), c.gap(Owner))
	default:
		words = append(words, "-")
	}
	if !c.met() {
		words = append(words, "MISSED")
	}
	return strings.Join(words, ", ")
}

// rows are the table, the first its header.
func (r Report) rows() [][]string {
	rows := [][]string{append([]string{"event"}, r.Clients...)}
	for _, e := range r.Events {
		row := []string{e.Name}
		for _, client := range r.Clients {
			if e.Has(client) {
				row = append(row, r.cell(e, client).text())
			} else {
				row = append(row, "")
			}
		}
		rows = append(rows, row)
	}
	return rows
}

const legend = "Each cell: the longest time without an answer (of several runs the median and the 95th percentile by nearest rank; ≥: it had not ended with the run), the requests that failed " +
	"of all, and the connections that were begun after the event. MISSED: a target of this client was missed, see below. bulk: how long the transfers took. cpu: for a datagram " +
	"at the edge that sends it on, and at the edge that has its connection."

// how says how it was measured.
func (r Report) how() string {
	s := fmt.Sprintf("%g requests a second of each client, all clients at the same time on the same moves; %.0f minutes.", r.Rate, r.Took.Minutes())
	if r.Machine != "" {
		s += " " + r.Machine
	}
	if r.Replayed > 0 {
		s += fmt.Sprintf(" %d runs in which the machine stood still were played again.", r.Replayed)
	}
	return s
}

// WriteTable writes a line for each event, and below it what was done, the targets and what else was measured.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range r.rows() {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n%s\n", legend, r.how())
	met := 0
	for _, e := range r.Events {
		if r.met(e) {
			met++
		}
		fmt.Fprintf(w, "\n%s: %s; %s\n", e.Name, e.Does, e.Holds)
		for _, line := range r.lines(e) {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d as they must be\n", met, len(r.Events))
	return err
}

// lines are what else is to be said of the event, by client.
func (r Report) lines(e Event) []string {
	var lines []string
	for _, c := range r.cells(e) {
		for _, v := range c.verdicts {
			lines = append(lines, c.client+": "+v.String())
		}
		if aside := c.aside(); aside != "" {
			lines = append(lines, c.client+": "+aside)
		}
		for i, run := range c.runs {
			for _, what := range run.notes() {
				lines = append(lines, fmt.Sprintf("%s, run %d: %s", c.client, i+1, what))
			}
		}
		if len(c.runs) == 0 {
			lines = append(lines, c.client+": was not played")
		}
	}
	return lines
}

// aside are the metrics that no cell shows, in words.
func (c cell) aside() string {
	var words []string
	for _, f := range facts {
		if p50, ok := figure.Percentile(valuesOf(c.runs, f.metric), 50); ok && f.aside {
			words = append(words, f.title+" "+f.metric.Format(p50))
		}
	}
	return strings.Join(words, ", ")
}

// WriteMarkdown writes the same for a page of results.
func (r Report) WriteMarkdown(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", r.how())
	for i, row := range r.rows() {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	fmt.Fprintf(w, "\n%s\n\n| event | what is done | what must hold | client | target | result |\n|---|---|---|---|---|---|\n", legend)
	for _, e := range r.Events {
		for _, c := range r.cells(e) {
			for _, v := range c.verdicts {
				result := strings.TrimPrefix(v.String(), v.Target.String()+": ")
				fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", e.Name, e.Does, e.Holds, c.client, v.Target, result)
			}
		}
	}
	fmt.Fprintln(w)
	for _, e := range r.Events {
		for _, c := range r.cells(e) {
			if aside := c.aside(); aside != "" {
				fmt.Fprintf(w, "- %s, %s: %s\n", e.Name, c.client, aside)
			}
			for i, run := range c.runs {
				for _, what := range run.notes() {
					fmt.Fprintf(w, "- %s, %s, run %d: %s\n", e.Name, c.client, i+1, what)
				}
			}
		}
	}
	return nil
}
