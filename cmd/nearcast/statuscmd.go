package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	statusTimeout   = 5 * time.Second
	maxStatusAnswer = 16 << 20
)

type statusCmd struct {
	adminTarget `embed:""`

	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// Run asks a running edge how it stands.
func (c *statusCmd) Run(s std) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	st, raw, err := askStatus(address)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		_, err = s.out.Write(raw)
		return err
	}
	return st.write(clean{s.out}, time.Now())
}

// statusView is what the command line shows of an edge's /status. Words stay words: the edge may be of another version.
type statusView struct {
	Edge      string         `json:"edge"`
	Region    string         `json:"region"`
	Version   string         `json:"version"`
	Started   time.Time      `json:"started"`
	Prefixes  []prefixView   `json:"prefixes"`
	Drain     *drainView     `json:"drain"`
	Neighbors []neighborView `json:"neighbors"`
	Addresses []addressView  `json:"addresses"`
	Listeners []targetStatus `json:"listeners"`
	Origins   []targetStatus `json:"origins"`
	Fleet     *fleetView     `json:"fleet"`
	QUIC      []quicView     `json:"quic"`
	Load      *loadView      `json:"load"`
}

type prefixView struct {
	Prefix    string       `json:"prefix"`
	Announced bool         `json:"announced"`
	Level     string       `json:"level"`
	Reason    string       `json:"reason"`
	Detail    string       `json:"detail"`
	Since     time.Time    `json:"since"`
	Until     time.Time    `json:"until"`
	Prepend   int          `json:"prepend"`
	Graceful  bool         `json:"graceful_shutdown"`
	Step      int          `json:"drain_step"`
	Flaps     int          `json:"flaps"`
	History   []changeView `json:"history"`
}

type changeView struct {
	At     time.Time `json:"at"`
	Level  string    `json:"level"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
}

type drainView struct {
	Order *struct {
		At       time.Time `json:"at"`
		By       string    `json:"by"`
		Why      string    `json:"why"`
		Prefixes []string  `json:"prefixes"` // none: all
	} `json:"order"`
	Ladder []drainStep `json:"ladder"`
}

// askStatus gets an edge's status. raw is its answer as it came.
func askStatus(address string) (st *statusView, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, nil, err
	}
	if raw, err = askAdmin(r, maxStatusAnswer); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(raw, &st); err != nil || st == nil || st.Edge == "" {
		return nil, nil, fmt.Errorf("%s did not answer as an edge does", address)
	}
	return st, raw, nil
}

// standing is one prefix's state in a line.
func (p *prefixView) standing() string {
	s := p.Level + ": " + p.Reason
	if p.Step > 0 {
		s += fmt.Sprintf(", step %d", p.Step)
	}
	if p.Graceful {
		s += ", community graceful-shutdown"
	}
	if p.Prepend > 0 {
		s += fmt.Sprintf(", %d prepends", p.Prepend)
	}
	if p.Level == "draining" && p.Reason != "draining" && p.Detail != "" { // it goes no further
		s += " (" + p.Detail + ")"
	}
	return s
}

// write prints the status for people: what an operator looks for first comes first.
func (st *statusView) write(to io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s, region %s, nearcast %s, up %s\n", st.Edge, cmp.Or(st.Region, "-"), st.Version, since(now, st.Started))
	if st.Drain != nil && st.Drain.Order != nil {
		o := st.Drain.Order
		fmt.Fprintf(w, "DRAINING%s, ordered %s ago by %s: %s\n", strings.TrimRight(" "+strings.Join(o.Prefixes, " "), " "), since(now, o.At), o.By, cmp.Or(o.Why, "no reason given"))
	}
	st.writeLoad(w, now)
	st.writeMissing(w)
	if len(st.Prefixes) > 0 {
		fmt.Fprintln(w, "\nPREFIX\tLEVEL\tREASON\tFOR\tUNTIL\tFLAPS\tDETAIL")
		for _, p := range st.Prefixes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", p.Prefix, p.Level, p.Reason, since(now, p.Since), left(now, p.Until), p.Flaps, cmp.Or(p.Detail, "-"))
		}
		st.writeNeighbors(w, now)
	}
	st.writeOthers(w, now)
	st.writeQUIC(w, now)
	writeTargets(w, now, "LISTENER\tPROTOCOL", st.Listeners, func(t targetStatus) string {
		return strings.TrimSuffix(t.Name+" at "+t.Address, " at ") + "\t" + t.Protocol
	})
	writeTargets(w, now, "SERVICE\tORIGIN", st.Origins, func(t targetStatus) string { return t.Service + "\t" + t.Region + " " + t.Name })
	st.writeHistory(w, now)
	return w.Flush()
}

func writeTargets(w io.Writer, now time.Time, heading string, targets []targetStatus, name func(targetStatus) string) {
	if len(targets) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\tSTATUS\tFOR\tRTT\tLATEST PROBE\n", heading)
	for _, t := range targets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f ms\t%s\n", name(t), t.Status, since(now, t.Since), t.RTTms, t.Reason)
	}
}

// writeHistory prints the latest changes of each prefix.
func (st *statusView) writeHistory(w io.Writer, now time.Time) {
	const most = 5
	for _, p := range st.Prefixes {
		if len(p.History) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s, LATEST CHANGES\tLEVEL\tREASON\tDETAIL\n", p.Prefix)
		for i := len(p.History) - 1; i >= max(0, len(p.History)-most); i-- {
			h := p.History[i]
			fmt.Fprintf(w, "%s ago\t%s\t%s\t%s\n", since(now, h.At), h.Level, h.Reason, cmp.Or(h.Detail, "-"))
		}
	}
}

// since is how long ago t was, as people say it.
func since(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return roughly(now.Sub(t))
}

// left is how long it is to t.
func left(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return "in " + roughly(t.Sub(now))
}

func roughly(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
