package flood

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
	Date     time.Time      `json:"date"`
	Commit   string         `json:"commit"`
	Command  string         `json:"command"`
	Machine  report.Machine `json:"machine"`
	Duration time.Duration  `json:"duration_ns"` // of each flood
	Clients  int            `json:"clients"`     // a second
	Rows     []Row          `json:"rows"`
}

var heads = []string{"defence", "from", "sent/s", "received", "to QUIC", "Retries", "CPU each", "steady", "kernel", "RSS before", "after", "goroutines", "after",
	"clients in", "median", "p95", "worst", "calm"}

// cells are a row's.
func (r Row) cells() []any {
	us := func(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/1e3) }
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }
	mib := func(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
	d := r.During
	return []any{r.Defence, r.Source, r.Rate, r.Received, r.Passed, r.Retries, us(r.CPU), us(r.Steady), us(r.Kernel), mib(r.RSSBefore), mib(r.RSSAfter),
		r.GoroutinesBefore, r.GoroutinesAfter, fmt.Sprintf("%d of %d", d.In, d.Came), ms(d.Median), ms(d.P95), ms(d.Worst), ms(r.Before.Median)}
}

// WriteTable writes it for a terminal.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, h := range heads {
		fmt.Fprintf(t, "%s\t", h)
	}
	fmt.Fprintln(t)
	for _, row := range r.Rows {
		for _, c := range row.cells() {
			fmt.Fprintf(t, "%v\t", c)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

const legend = `Every Initial of a flood is valid, with a connection ID of its own, so that a server that does not know better signs a handshake for it. Nobody answers what
the edge sends back. Meanwhile honest clients come, each from an address that was never seen and with what quic-go sends (two datagrams, X25519MLKEM768),
and the flood goes on until the last of them is in or has given up, after 10 s.

- **defence**: *guard* is what the edge does by default; *retry* only asks for proof of the address from 256 handshakes in progress on; *none* does nothing.
- **from**: *random*: every packet from another address; *hundreds*: 200 addresses, each in a /24 of its own; *net*: one /24.
- **CPU each**: the edge's CPU time for each datagram that it looked at, less what the same clients cost it before the flood; **steady**: after the first two
  seconds, in which the burst is used up; **kernel**: the kernel's part of that, which is the receiving.
- **RSS**, **goroutines**: of the edge, before the flood and at its end.
- **clients in**, and how long they took to get in, from their first packet to a complete handshake; **calm**: the median before the flood.

`

// WriteMarkdown writes it for people.
func (r Report) WriteMarkdown(w io.Writer) error {
	_, err := fmt.Fprintf(w, "# A flood of QUIC Initials\n\n`%s`, %s, commit %s. %s Each flood takes %v, with %d clients a second.\n\n%s",
		r.Command, r.Date.Format("2006-01-02"), r.Commit, r.Machine.Words(), r.Duration, r.Clients, legend)
	line := func(cells []any) {
		for _, c := range cells {
			if err == nil {
				_, err = fmt.Fprintf(w, "| %v ", c)
			}
		}
		if err == nil {
			_, err = fmt.Fprintln(w, "|")
		}
	}
	var head, rule []any
	for i, h := range heads {
		head = append(head, h)
		if rule = append(rule, "---:"); i < 2 {
			rule[i] = "---"
		}
	}
	line(head)
	line(rule)
	for _, row := range r.Rows {
		line(row.cells())
	}
	return err
}

// WriteJSON writes it for programs.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteFiles writes DIR/DATE-flood.json and .md, and returns their names. Those of the same day are replaced.
func (r Report) WriteFiles(dir string) ([]string, error) {
	return report.Write(dir, report.Base(r.Date, "flood"), report.File{Ending: ".json", Write: r.WriteJSON}, report.File{Ending: ".md", Write: r.WriteMarkdown})
}
