package failover

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"nearcast/internal/lab/figure"
)

// Report is what a measurement has shown.
type Report struct {
	Events  []Event // that were to be played, in order
	Rate    float64 // requests a second of each protocol on new connections, and as many on kept ones
	Runs    []Run
	Took    time.Duration
	Machine string // in words
}

// group is the runs of an event in a region.
type group struct {
	event    Event
	region   string
	router   string
	runs     []Run
	verdicts []Verdict
}

// met reports whether every run went through and every target was met.
func (g group) met() bool {
	for _, v := range g.verdicts {
		if !v.Met {
			return false
		}
	}
	return len(g.runs) > 0 && len(g.errors()) == 0
}

func (g group) errors() []error {
	var errs []error
	for _, r := range g.runs {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return errs
}

// groups are the runs by event and region. An event without runs has one group without a region, so that it is not passed over in silence.
func (r Report) groups() []group {
	var all []group
	for _, e := range r.Events {
		before := len(all)
		for _, run := range r.Runs {
			if run.Event != e.Name {
				continue
			}
			i := before
			for i < len(all) && all[i].region != run.Region {
				i++
			}
			if i == len(all) {
				all = append(all, group{event: e, region: run.Region, router: run.Router})
			}
			all[i].runs = append(all[i].runs, run)
		}
		if len(all) == before {
			all = append(all, group{event: e})
		}
	}
	for i := range all {
		for _, t := range all[i].event.Targets {
			all[i].verdicts = append(all[i].verdicts, t.Judge(all[i].runs))
		}
	}
	return all
}

// Missed reports whether any target was missed, or any run did not go through.
func (r Report) Missed() bool {
	for _, g := range r.groups() {
		if !g.met() {
			return true
		}
	}
	return false
}

// both is the median and the 95th percentile of a metric, with its unit once.
func (g group) both(m Metric) string {
	values := valuesOf(g.runs, m)
	p50, ok := figure.Percentile(values, 50)
	if !ok {
		return "-"
	}
	p95, _ := figure.Percentile(values, 95)
	number, word, _ := strings.Cut(m.Format(p50), " ")
	last, _, _ := strings.Cut(m.Format(p95), " ")
	return strings.TrimSpace(fmt.Sprintf("%s / %s %s", number, last, word))
}

// rest are the metrics without a column, in words.
func (g group) rest() string {
	var words []string
	for _, f := range facts {
		if text := g.both(f.metric); !f.column && text != "-" {
			words = append(words, f.title+" "+text)
		}
	}
	return strings.Join(words, ", ")
}

func (g group) verdict() string {
	if g.met() {
		return "met"
	}
	return "MISSED"
}

// header are the titles of the table's columns, row one line of it.
func header() []string {
	titles := []string{"event", "region", "router", "runs"}
	for _, f := range facts {
		if f.column {
			titles = append(titles, f.title)
		}
	}
	return append(titles, "targets")
}

func (g group) row() []string {
	cells := []string{g.event.Name, dash(g.region), dash(g.router), fmt.Sprint(len(g.runs))}
	for _, f := range facts {
		if f.column {
			cells = append(cells, g.both(f.metric))
		}
	}
	return append(cells, g.verdict())
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

const legend = "Each pair is the median and the 95th percentile of the runs (nearest rank). withdrawn: until the router's kernel sent packets another way; elsewhere: until the first answer " +
	"of another region to a new connection was whole, less the path's round trips (3 for HTTP/1.1 and HTTP/2, 2 for HTTP/3), of the loads the slowest; gap: longest time in which no answer of a load was completed (a kept QUIC connection gives up after 1.5 s of silence); failed: requests sent " +
	"after the event, of the protocols the worst; in flight: failed, under way at the event or while the route moved, all loads."

// how says how it was measured.
func (r Report) how() string {
	s := fmt.Sprintf("Each of HTTP/1.1, HTTP/2 and HTTP/3 with %g requests a second on new connections and as many on kept ones, half of them over IPv4 and half over IPv6, all at the same time; %.0f minutes.",
		r.Rate, r.Took.Minutes())
	if r.Machine != "" {
		s += " " + r.Machine
	}
	return s
}

// WriteTable writes a line for each event and region, and below it the targets and what else was measured.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header(), "\t"))
	groups := r.groups()
	for _, g := range groups {
		fmt.Fprintln(t, strings.Join(g.row(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n%s\n", legend, r.how())
	met := 0
	for _, g := range groups {
		if g.met() {
			met++
		}
		fmt.Fprintf(w, "\n%s in %s: %s; %s\n", g.event.Name, dash(g.region), g.event.Does, g.event.Holds)
		for _, line := range g.lines() {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d as they must be\n", met, len(groups))
	return err
}

// lines are the verdicts, what else was measured, and the runs that went wrong.
func (g group) lines() []string {
	var lines []string
	for _, v := range g.verdicts {
		lines = append(lines, v.String())
	}
	if rest := g.rest(); rest != "" {
		lines = append(lines, rest)
	}
	if len(g.runs) == 0 {
		lines = append(lines, "was not played")
	}
	for i, run := range g.runs {
		if run.Err != nil {
			lines = append(lines, fmt.Sprintf("run %d: %s", i+1, strings.ReplaceAll(run.Err.Error(), "\n", "; ")))
		}
	}
	return lines
}

// WriteMarkdown writes the same for a page of results.
func (r Report) WriteMarkdown(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", r.how())
	titles := header()
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	groups := r.groups()
	for _, g := range groups {
		fmt.Fprintf(w, "| %s |\n", strings.Join(g.row(), " | "))
	}
	fmt.Fprintf(w, "\n%s\n\n| event | region | what is done | what must hold | target | result |\n|---|---|---|---|---|---|\n", legend)
	for _, g := range groups {
		for _, v := range g.verdicts {
			target, result := v.Target.String(), strings.TrimPrefix(v.String(), v.Target.String()+": ")
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", g.event.Name, dash(g.region), g.event.Does, g.event.Holds, target, result)
		}
	}
	fmt.Fprintln(w)
	for _, g := range groups {
		if rest := g.rest(); rest != "" {
			fmt.Fprintf(w, "- %s in %s: %s\n", g.event.Name, dash(g.region), rest)
		}
		for i, run := range g.runs {
			if run.Err != nil {
				fmt.Fprintf(w, "- %s in %s, run %d: %s\n", g.event.Name, dash(g.region), i+1, strings.ReplaceAll(run.Err.Error(), "\n", "; "))
			}
		}
	}
	return nil
}

// WriteJSON writes every sample, the percentiles and the verdicts for programs. Times are in milliseconds, sizes in MiB.
func (r Report) WriteJSON(w io.Writer) error {
	type percentiles struct {
		P50 float64 `json:"p50"`
		P95 float64 `json:"p95"`
	}
	type row struct {
		Event    string                 `json:"event"`
		Region   string                 `json:"region"`
		Router   string                 `json:"router"`
		Metrics  map[Metric]percentiles `json:"metrics"`
		Samples  []Sample               `json:"samples"`
		Verdicts []figure.Verdict       `json:"verdicts"`
		Errors   []string               `json:"errors,omitempty"`
		Met      bool                   `json:"met"`
	}
	out := struct {
		Rows    []row   `json:"rows"`
		Rate    float64 `json:"requests_per_second"` // of each protocol, on new and on kept connections each
		Took    float64 `json:"took_seconds"`
		Machine string  `json:"machine,omitempty"`
		Met     bool    `json:"met"`
	}{[]row{}, r.Rate, r.Took.Seconds(), r.Machine, !r.Missed()}
	for _, g := range r.groups() {
		j := row{Event: g.event.Name, Region: g.region, Router: g.router, Metrics: map[Metric]percentiles{}, Samples: []Sample{}, Verdicts: []figure.Verdict{}, Met: g.met()}
		for _, f := range facts {
			values := valuesOf(g.runs, f.metric)
			if p50, ok := figure.Percentile(values, 50); ok {
				p95, _ := figure.Percentile(values, 95)
				j.Metrics[f.metric] = percentiles{p50, p95}
			}
		}
		for _, run := range g.runs {
			if run.Sample != nil {
				j.Samples = append(j.Samples, run.Sample)
			}
		}
		for _, v := range g.verdicts {
			j.Verdicts = append(j.Verdicts, v.Verdict(v.Target.String()))
		}
		for _, err := range g.errors() {
			j.Errors = append(j.Errors, err.Error())
		}
		out.Rows = append(out.Rows, j)
	}
	return figure.WriteJSON(w, out)
}
