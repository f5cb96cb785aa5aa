package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is one fault of a configuration and its place.
type Error struct {
	File      string
	Line, Col int    // from 1; Col counts characters
	Path      string // such as services.shop.origins.nyc[0]; "" for the file as a whole
	Msg       string // what is wrong
	Hint      string // what to write instead, or ""

	source string // the line
	width  int    // characters to underline
}

// Error is the fault in one line: file:line:col: path: what is wrong; what to write instead.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Col)
	if e.Path != "" {
		s += e.Path + ": "
	}
	s += e.Msg
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// maxExcerpt is the longest part of a source line that is shown, in characters.
const maxExcerpt = 120

// excerpt shows the line of the file with the fault underlined.
func (e *Error) excerpt() string {
	line := []rune(printable(strings.TrimRight(e.source, "\r\n")))
	col := min(max(e.Col-1, 0), len(line))
	if drop := col - maxExcerpt/2; drop > 0 && len(line) > maxExcerpt {
		line, col = line[drop:], col-drop
	}
	line = line[:min(len(line), maxExcerpt)]
	carets := strings.Repeat("^", max(1, min(e.width, len(line)-col)))
	number := strconv.Itoa(e.Line)
	gutter := strings.Repeat(" ", len(number))
	return gutter + " |\n" + number + " | " + string(line) + "\n" + gutter + " | " + strings.Repeat(" ", col) + carets
}

// Errors are all the faults of a file, in the order of their places.
type Errors []Error

// Error shows every fault with its line of the file, as plain text.
func (es Errors) Error() string {
	var b strings.Builder
	for i := range es {
		b.WriteString(es[i].Error() + "\n" + es[i].excerpt() + "\n")
	}
	if len(es) == 1 {
		b.WriteString("1 error")
	} else {
		fmt.Fprintf(&b, "%d errors", len(es))
	}
	return b.String()
}

// Unwrap returns each fault as a *Error.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i := range es {
		errs[i] = &es[i]
	}
	return errs
}

// sorted returns the faults by place, each once.
func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.CompactFunc(es, func(a, b Error) bool { return a == b })
}
