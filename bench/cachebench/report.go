package cachebench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"nearcast/bench/report"
)

// Report is a measurement and where it was made.
type Report struct {
	Date    time.Time      `json:"date"`
	Commit  string         `json:"commit"`
	Machine report.Machine `json:"machine"`
	Quick   bool           `json:"quick"`
	Rows    []Row          `json:"rows"`
	Took    float64        `json:"took_seconds"`
}

// WriteTable writes it for a terminal.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%.1f %s\t%s\n", row.Scenario, row.Case, row.Value, row.Unit, row.Note)
	}
	return t.Flush()
}

// WriteMarkdown writes it for people.
func (r Report) WriteMarkdown(w io.Writer) error {
	_, err := fmt.Fprintf(w, "# The cache, measured in its own process\n\n`nearcast bench cache`, %s, commit %s. %s\n\n",
		r.Date.Format("2006-01-02"), r.Commit, r.Machine.Words())
	if err == nil && r.Quick {
		_, err = fmt.Fprint(w, "A quick run: it shows that everything works, not how fast it is.\n\n")
	}
	if err == nil {
		_, err = fmt.Fprint(w, legend+"| scenario | case | value | |\n|---|---|---:|---|\n")
	}
	for _, row := range r.Rows {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %s | %s | %.1f %s | %s |\n", row.Scenario, row.Case, row.Value, row.Unit, row.Note)
		}
	}
	return err
}

// legend says what the rows are.
const legend = `Times of stores and hits are CPU time of the whole process (getrusage), the collector's part included: other work on the machine disturbs them less than time
by the clock, but still by tens of percent when its load is above the number of cores. Times of purges and collections are by the clock.

- **pass-through**: a body much larger than the cache goes to two clients who share the fetch; origin, edge and clients are in this process.
- **hit ratio**: requests by Zipf's law, with room for a part of the keys. LRU is what a plain list of as many objects as the cache held makes of the same
  requests, at no cost for its own bookkeeping. With scans, a crawler comes between; only the others' requests are counted.
- **store**: a fetched answer with five fields becomes a stored one. **memory**: what that takes besides the body.
- **hit, Lookup**: the store's part alone. **hit, Quick**: with routing, header section and accounting, without a connection. *popular*: a thousand
  objects again and again, which the store keeps unpacked; an allocation would end the run. *any*: each of all objects as likely as another, which hardly
  any cache sees: with many objects most are unpacked for that one hit.
- **disk**: how long it takes until everything that was stored before a restart is found again, and what is asked for first comes from it.
- **purge**: the call, and not the sweep behind it. That nothing purged is a hit any more is checked.

`

// WriteJSON writes it for programs.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteFiles writes DIR/DATE-cache.json and .md, and returns their names. Those of the same day are replaced.
func (r Report) WriteFiles(dir string) ([]string, error) {
	return report.Write(dir, report.Base(r.Date, "cache"), report.File{Ending: ".json", Write: r.WriteJSON}, report.File{Ending: ".md", Write: r.WriteMarkdown})
}
