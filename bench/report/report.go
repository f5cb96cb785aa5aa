// Package report writes what a measurement showed: JSON for programs, Markdown for people, SVG to look at.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nearcast/bench/table"
)

// Report is a measurement and where it was made.
type Report struct {
	Date     time.Time         `json:"date"`
	Commit   string            `json:"commit"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"` // of the servers, by name
	Rounds   int               `json:"rounds"`
	Duration float64           `json:"duration_seconds"` // of a run
	Warmup   float64           `json:"warmup_seconds"`
	Rows     []table.Result    `json:"rows"`
	Took     float64           `json:"took_seconds"`
}

// EnoughRounds is how many pairs a row needs for a verdict.
const EnoughRounds = 5

// disturbed are the rows in which something else ran on the server's core, "" when there are none.
func (r Report) disturbed() string {
	var rows []string
	for _, row := range r.Rows {
		if row.Disturbed() {
			rows = append(rows, row.Row.ID())
		}
	}
	return strings.Join(rows, ", ")
}

// WriteFiles writes DIR/DATE-WHAT.json, .md and .svg, and returns their names. Those of the same day and what are replaced.
func (r Report) WriteFiles(dir, what string) ([]string, error) {
	base := Base(r.Date, what)
	return Write(dir, base,
		File{".json", r.WriteJSON},
		File{".md", func(w io.Writer) error { return r.WriteMarkdown(w, base) }},
		File{".svg", r.WriteSVG})
}

// Base is DATE-WHAT, of which the files of a measurement are named.
func Base(date time.Time, what string) string { return date.Format("2006-01-02") + "-" + what }

// File is one of a measurement's files.
type File struct {
	Ending string
	Write  func(io.Writer) error
}

// Write writes files DIR/BASE.ENDING, each as a whole or not at all, and returns the names of those that it wrote. dir is made when it is not there.
func Write(dir, base string, files ...File) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		name := filepath.Join(dir, base+f.Ending)
		if err := writeFile(name, f.Write); err != nil {
			return names, fmt.Errorf("%s: %w", name, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// writeFile replaces a file as a whole, or leaves it as it is.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// WriteJSON writes everything, every single run included.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(in io.Reader) (r Report, err error) {
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	return r, d.Decode(&r)
}
