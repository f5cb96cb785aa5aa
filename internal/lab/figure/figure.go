// Package figure has what reports on measured events have in common: how values are written, which of several counts, and whether it is within a bound.
package figure

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// Unit is what a value is of, and so how it is written.
type Unit uint8

// The units. Values are in them.
const (
	Count Unit = iota
	Milliseconds
	Microseconds
	Mebibytes
)

// Format writes a value with its unit.
func (u Unit) Format(v float64) string {
	switch u {
	case Milliseconds:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ms"
	case Microseconds:
		return strconv.FormatFloat(v, 'f', 1, 64) + " µs"
	case Mebibytes:
		return strconv.FormatFloat(v, 'f', 1, 64) + " MiB"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// Percentile is the value that p percent of the values do not exceed, by nearest rank: of ten values the 95th percentile is the largest. There is none
// of no value.
func Percentile(values []float64, p float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1], true
}

// Bound is what values must keep to.
type Bound struct {
	AtMost  float64 // the 95th percentile
	AtLeast float64 // the least; instead of AtMost when it is not zero
}

// Words are the bound of what has that title.
func (b Bound) Words(title string, format func(float64) string) string {
	if b.AtLeast != 0 {
		return title + " ≥ " + format(b.AtLeast)
	}
	return title + " ≤ " + format(b.AtMost)
}

// Judge says what the values make of the bound.
func (b Bound) Judge(values []float64) Outcome {
	percent := 95.0
	if b.AtLeast != 0 {
		percent = 0
	}
	v, ok := Percentile(values, percent)
	return Outcome{Met: ok && (b.AtLeast != 0 && v >= b.AtLeast || b.AtLeast == 0 && v <= b.AtMost), Figure: v, None: !ok}
}

// Outcome is what became of a target.
type Outcome struct {
	Met    bool
	Figure float64 // what was measured, if anything
	None   bool    // nothing was measured, so it is not met
}

// Words are the outcome of a target, with its figure.
func (o Outcome) Words(target string, format func(float64) string) string {
	word := "MISSED"
	if o.Met {
		word = "met"
	}
	if o.None {
		return fmt.Sprintf("%s: %s, not measured", target, word)
	}
	return fmt.Sprintf("%s: %s, %s", target, word, format(o.Figure))
}

// Verdict is an outcome for programs.
type Verdict struct {
	Target string   `json:"target"`
	Met    bool     `json:"met"`
	Figure *float64 `json:"figure"`
}

// Verdict is the outcome of a target.
func (o Outcome) Verdict(target string) Verdict {
	v := Verdict{Target: target, Met: o.Met}
	if !o.None {
		v.Figure = &o.Figure
	}
	return v
}

// WriteJSON writes a report for programs, in lines that people can read.
func WriteJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(report)
}
