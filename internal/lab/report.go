package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is what one scenario showed in one region. A time that was not measured is zero.
type Row struct {
	Scenario  string
	Region    string
	Router    string        // the daemon
	Withdrawn time.Duration // from the event until the router held no route from its edge
	Elsewhere time.Duration // from the event until the first request that another place answered was sent
	Back      time.Duration // from the repair until the router held the route again
	Longest   time.Duration // that a request took which succeeded before the repair; of QUIC clients, that there was no answer
	Requests  int           // sent meanwhile by the region's client
	Failed    int           // of those, until the repair
	Astride   int           // of those, under way in the very moment in which the router began to send packets another way
	FailedIn  int           // of the requests, after the repair: coming back resets what is in flight to the farther region
	Repeated  int           // succeeded on a new connection after a kept one had broken
	Err       error         // what was not as it must be
}

// Report is what a run of scenarios showed.
type Report struct {
	Rows []Row
	Took time.Duration
}

// Failed reports whether anything was not as it must be.
func (r Report) Failed() bool {
	for _, row := range r.Rows {
		if row.Err != nil {
			return true
		}
	}
	return false
}

// WriteTable writes a line for each row and, below, what failed.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\tregion\trouter\tevent→withdrawn\tevent→served elsewhere\tback after\tlongest wait\tfailed requests\tresult")
	for _, row := range r.Rows {
		result := "ok"
		if row.Err != nil {
			result = "FAILED"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Scenario, row.Region, row.Router,
			short(row.Withdrawn), short(row.Elsewhere), short(row.Back), short(row.Longest), row.failures(), result)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "astride: under way in the moment in which the router moved the route; on return: reset when the route came back; repeated: on a new connection")
	failed := 0
	for _, row := range r.Rows {
		if row.Err != nil {
			failed++
			if _, err := fmt.Fprintf(w, "\n%s in %s: %s\n", row.Scenario, row.Region, strings.ReplaceAll(row.Err.Error(), "\n", "\n  ")); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d as they must be, in %.0f s\n", len(r.Rows)-failed, len(r.Rows), r.Took.Seconds())
	return err
}

// WriteJSON writes the same for programs: times in seconds, null for what was not measured.
func (r Report) WriteJSON(w io.Writer) error {
	type row struct {
		Scenario  string   `json:"scenario"`
		Region    string   `json:"region"`
		Router    string   `json:"router"`
		Withdrawn *float64 `json:"withdrawn_seconds"`
		Elsewhere *float64 `json:"elsewhere_seconds"`
		Back      *float64 `json:"back_seconds"`
		Longest   *float64 `json:"longest_seconds"`
		Requests  int      `json:"requests"`
		Failed    int      `json:"failed"`
		Astride   int      `json:"astride"`
		FailedIn  int      `json:"failed_on_return"`
		Repeated  int      `json:"repeated"`
		OK        bool     `json:"ok"`
		Error     string   `json:"error,omitempty"`
	}
	out := struct {
		Rows []row   `json:"rows"`
		Took float64 `json:"took_seconds"`
		OK   bool    `json:"ok"`
	}{[]row{}, r.Took.Seconds(), !r.Failed()}
	for _, s := range r.Rows {
		j := row{s.Scenario, s.Region, s.Router, seconds(s.Withdrawn), seconds(s.Elsewhere), seconds(s.Back), seconds(s.Longest),
			s.Requests, s.Failed, s.Astride, s.FailedIn, s.Repeated, s.Err == nil, ""}
		if s.Err != nil {
			j.Error = s.Err.Error()
		}
		out.Rows = append(out.Rows, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func seconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}

// failures are the requests that failed, before and after the repair, of all.
func (r Row) failures() string {
	if r.Requests == 0 {
		return "-"
	}
	s := fmt.Sprintf("%d of %d", r.Failed, r.Requests)
	if r.Astride > 0 {
		s += fmt.Sprintf(" (%d astride)", r.Astride)
	}
	if r.FailedIn > 0 {
		s += fmt.Sprintf(", %d on return", r.FailedIn)
	}
	if r.Repeated > 0 {
		s += fmt.Sprintf(", %d repeated", r.Repeated)
	}
	return s
}

func short(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
