package main

import (
	"cmp"
	"fmt"
	"io"

	benchreport "nearcast/bench/report"
)

// benchReport is what a measurement has to show.
type benchReport interface {
	WriteTable(w io.Writer) error
	WriteJSON(w io.Writer) error
	WriteFiles(dir string) (names []string, err error)
}

// publish prints a report, also one of a measurement that has failed on its way, and writes one that is whole into the directory of results, if there is
// one.
func publish(s std, r benchReport, output, results string, whole bool) error {
	write := r.WriteTable
	if output == "json" {
		write = r.WriteJSON
	}
	if err := write(s.out); err != nil || !whole || results == "" {
		return err
	}
	names, err := r.WriteFiles(results)
	for _, name := range names {
		fmt.Fprintln(s.err, "wrote", name)
	}
	return err
}

// benchCommit is what is measured.
func benchCommit() string { return cmp.Or(benchreport.Commit(), version) }
