package report

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"nearcast/bench/table"
)

// The plot's measures, in pixels.
const (
	plotWidth  = 900
	rowHeight  = 34
	barHeight  = 9
	left       = 330 // of the bars
	right      = 225 // of them, for the figures
	top        = 64
	mostRatio  = 2.0 // where the plot ends at the latest, or one slow row would make all others unreadable
	colourOurs = "#1f77b4"
	colourPeer = "#b0b0b0"
	colourAim  = "#d62728"
)

// WriteSVG draws, for each row, ours and the peer's as bars of the same scale, as long as the peer's is 1, with the target as a line.
func (r Report) WriteSVG(to io.Writer) error {
	w := bufio.NewWriter(to)
	rows := r.measured()
	scale := float64(plotWidth-left-right) / longest(rows)
	height := top + rowHeight*len(rows) + 16
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, height, plotWidth, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	label(w, 12, 22, "start", 15, "CPU time a request, memory an idle connection: nearcast and its peers, "+r.Date.Format("2006-01-02"))
	fmt.Fprintf(w, `<rect x="12" y="34" width="12" height="%d" fill="%s"/>`+"\n", barHeight, colourOurs)
	label(w, 30, 43, "start", 12, "nearcast")
	fmt.Fprintf(w, `<rect x="110" y="34" width="12" height="%d" fill="%s"/>`+"\n", barHeight, colourPeer)
	label(w, 128, 43, "start", 12, "peer = 1")
	fmt.Fprintf(w, `<rect x="208" y="32" width="2" height="13" fill="%s"/>`+"\n", colourAim)
	label(w, 216, 43, "start", 12, "target: nearcast at most this long")
	for i, row := range rows {
		drawRow(w, row, top+i*rowHeight, scale)
	}
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

func drawRow(w io.Writer, row table.Result, y int, scale float64) {
	label(w, left-10, y+14, "end", 12, row.Row.Title+" · "+row.Row.Peer)
	at := func(ratio float64) float64 { return left + min(ratio, mostRatio)*scale }
	bar := func(y int, value float64, colour string) {
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y, at(value)-left, barHeight, colour)
	}
	bar(y, row.Ratio, colourOurs)
	bar(y+barHeight+1, 1, colourPeer)
	if row.Ratio > mostRatio { // cut off: an arrow says that it goes on
		fmt.Fprintf(w, `<path d="M%.1f %d l8 %.1f l-8 %.1f z" fill="%s"/>`+"\n", at(mostRatio), y, barHeight/2.0, barHeight/2.0, colourOurs)
	}
	if row.Highest > row.Lowest {
		fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="black"/>`+"\n", at(row.Lowest), at(row.Highest), y+barHeight/2, y+barHeight/2)
	}
	if row.Row.Target > 0 {
		fmt.Fprintf(w, `<rect x="%.1f" y="%d" width="2" height="%d" fill="%s"/>`+"\n", at(row.Row.Target)-1, y-3, 2*barHeight+7, colourAim)
	}
	unit, _, _ := strings.Cut(row.Row.Unit(), "/")
	verdict := ""
	if row.Row.Target > 0 {
		verdict = " " + string(row.Verdict)
	}
	label(w, plotWidth-right+14, y+14, "start", 12, fmt.Sprintf("%s : %s %s = %.2f%s", figure(row.Ours.Value), figure(row.Peer.Value), unit, row.Ratio, verdict))
}

func label(w io.Writer, x, y int, anchor string, size int, text string) {
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="%s" font-size="%d">`, x, y, anchor, size)
	_ = xml.EscapeText(w, []byte(text)) // w is a bufio.Writer, which keeps its error
	fmt.Fprintln(w, "</text>")
}

// measured are the rows that have figures.
func (r Report) measured() []table.Result {
	var rows []table.Result
	for _, row := range r.Rows {
		if len(row.Pairs) > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// longest is the ratio at which the plot ends.
func longest(rows []table.Result) float64 {
	most := 1.0
	for _, row := range rows {
		most = max(most, row.Highest, row.Row.Target)
	}
	return min(most, mostRatio)
}
