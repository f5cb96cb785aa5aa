package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// mostRoutes of an edge are named; of more than that each level's are counted.
const mostRoutes = 4

type neighborView struct {
	Address    string         `json:"address"`
	ASN        uint32         `json:"asn"`
	State      string         `json:"state"`
	Since      time.Time      `json:"since"`
	Prefixes   []string       `json:"prefixes"`
	Mismatches []mismatchView `json:"mismatches"`
	LastDown   string         `json:"last_down"`
	BFD        *bfdView       `json:"bfd"` // nil: none is configured
}

type mismatchView struct {
	Prefix string    `json:"prefix"`
	Kind   string    `json:"kind"`
	Since  time.Time `json:"since"`
}

type bfdView struct {
	State  string    `json:"state"`
	Detail string    `json:"detail"`
	Since  time.Time `json:"since"`
}

type addressView struct {
	Address string `json:"address"`
	Present bool   `json:"present"`
	Error   string `json:"error"`
}

type fleetView struct {
	Edges []peerView `json:"edges"`
}

type peerView struct {
	Address string    `json:"address"`
	Region  string    `json:"region"`
	Edge    string    `json:"edge"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Result  string    `json:"result"`
	Says    *struct {
		Load     string `json:"load"`
		Prefixes []struct {
			Prefix string `json:"prefix"`
			Level  string `json:"level"`
		} `json:"prefixes"`
	} `json:"says"`
}

type loadView struct {
	Level  string    `json:"level"`
	Since  time.Time `json:"since"`
	Detail string    `json:"detail"`
}

// writeLoad says how hard pressed the edge is when it is.
func (st *statusView) writeLoad(w io.Writer, now time.Time) {
	if l := st.Load; l != nil && l.Level != "ok" && l.Level != "" {
		fmt.Fprintf(w, "LOAD %s for %s: %s\n", l.Level, since(now, l.Since), cmp.Or(l.Detail, "-"))
	}
}

// writeMissing names the service addresses that the machine does not have.
func (st *statusView) writeMissing(w io.Writer) {
	for _, a := range st.Addresses {
		if !a.Present {
			fmt.Fprintf(w, "ADDRESS MISSING %s: %s\n", a.Address, cmp.Or(a.Error, "packets to it do not stay on this machine"))
		}
	}
}

// writeNeighbors prints a line for each neighbor, and below what is to be said of BFD and what they have otherwise than they should.
func (st *statusView) writeNeighbors(w io.Writer, now time.Time) {
	fmt.Fprintln(w, "\nNEIGHBOR\tASN\tSESSION\tFOR\tSENT\tBFD\tLAST LOSS")
	for i := range st.Neighbors {
		n := &st.Neighbors[i]
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", n.Address, n.ASN, n.State, since(now, n.Since), len(n.Prefixes), n.BFD.line(now), cmp.Or(n.LastDown, "-"))
	}
	for i := range st.Neighbors {
		n := &st.Neighbors[i]
		if n.BFD != nil && n.BFD.Detail != "" {
			fmt.Fprintf(w, "BFD at %s: %s\n", n.Address, n.BFD.Detail)
		}
		writeMismatches(w, now, n)
	}
}

// line is BFD's state in one column.
func (b *bfdView) line(now time.Time) string {
	if b == nil {
		return "-"
	}
	return b.State + " " + since(now, b.Since)
}

// writeMismatches prints a line for each kind.
func writeMismatches(w io.Writer, now time.Time, n *neighborView) {
	for left := n.Mismatches; len(left) > 0; {
		first := left[0]
		end := slices.IndexFunc(left, func(m mismatchView) bool { return m.Kind != first.Kind })
		if end < 0 {
			end = len(left)
		}
		of := first.Prefix
		if end > 1 {
			of = fmt.Sprintf("%s and %d more", of, end-1)
		}
		fmt.Fprintf(w, "MISMATCH at %s for %s: %s: %s\n", n.Address, since(now, first.Since), first.Kind, of)
		left = left[end:]
	}
}

// writeOthers prints a line for each other edge: what is known of it, and how it holds the routes as it last said.
func (st *statusView) writeOthers(w io.Writer, now time.Time) {
	if st.Fleet == nil || len(st.Fleet.Edges) == 0 {
		return
	}
	fmt.Fprintln(w, "\nOTHER EDGE\tREGION\tSTATE\tFOR\tROUTES")
	for i := range st.Fleet.Edges {
		p := &st.Fleet.Edges[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(p.Edge, p.Address), p.Region, p.State, since(now, p.Since), p.routes())
	}
}

// routes is what counts of an edge's words: of one that is not heard, why.
func (p *peerView) routes() string {
	if p.State != "heard" || p.Says == nil {
		return cmp.Or(p.Result, "-")
	}
	var words []string
	counts := map[string]int{}
	for _, r := range p.Says.Prefixes {
		words = append(words, r.Prefix+" "+r.Level)
		counts[r.Level]++
	}
	if len(words) > mostRoutes {
		words = nil
		for _, level := range slices.Sorted(maps.Keys(counts)) {
			words = append(words, fmt.Sprintf("%d %s", counts[level], level))
		}
	}
	if load := p.Says.Load; load != "" && load != "ok" {
		words = append(words, "load "+load)
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}
