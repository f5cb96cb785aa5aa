package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy"
)

// writeLine prints one line of a table of names and what is said of them.
func writeLine(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "%-10s "+format+"\n", append([]any{name}, args...)...)
}

func writeVerdict(w io.Writer, name string, v cache.Verdict) {
	writeLine(w, name, "%s: %v. %s (%s)", v.Decision, v.Reason, v.Meaning, v.Section)
	if v.Change != "" && v.Reason != cache.ReasonNotStored { // which is what it comes to, not why
		writeLine(w, "", "To change it: %s", v.Change)
	}
}

// writeStored prints what a running edge has.
func writeStored(w io.Writer, e *proxy.Inspected) {
	writeLine(w, "edge", "%s", e.Edge)
	writeLine(w, "service", "%s", e.Service)
	writeLine(w, "key", "%s", e.Key)
	writeVerdict(w, "now", e.Lookup)
	if e.Lookup.Reason == cache.ReasonNotStored && strings.Contains(e.Key, "?") {
		writeLine(w, "", "Another query is another key. %s", e.Lookup.Change)
	}
	if len(e.Stored) == 0 {
		writeLine(w, "stored", "nothing")
	}
	for i := range e.Stored {
		writeResponse(w, &e.Stored[i])
	}
	if e.OnDisk {
		writeLine(w, "disk", "has something of the URL, which a request brings into memory if it fits")
	}
	if e.OtherKeys > 0 {
		writeLine(w, "other keys", "%d of the URL, by the service's cache.key", e.OtherKeys)
	}
	if e.Fetches > 0 {
		writeLine(w, "fetches", "%d under way, which requests wait for together", e.Fetches)
	}
	if e.Unshared {
		writeLine(w, "not shared", "the last answer could not be shared: for up to 10s each request goes to the origin by itself")
	}
}

func writeResponse(w io.Writer, r *cache.StoredResponse) {
	what := fmt.Sprint(r.Status)
	if r.Part != "" {
		what += " " + r.Part
	}
	if r.Length >= 0 {
		what += fmt.Sprintf(", %d bytes", r.Length)
	}
	if !r.Selected {
		what += ", of another variant"
	}
	writeLine(w, "stored", "%s: age %ds of %ds, %ds left", what, r.Age, r.Lifetime, r.TTL)
	if r.Selected {
		writeLine(w, "", "  %s: %v", r.Verdict.Decision, r.Verdict.Reason)
	}
	for _, v := range r.Vary {
		writeVary(w, "", "  made for "+v.Name, v)
	}
	if r.ETag != "" {
		writeLine(w, "", "  ETag %s", r.ETag)
	}
	if r.Modified != "" {
		writeLine(w, "", "  Last-Modified %s", r.Modified)
	}
	if r.AllTags {
		writeLine(w, "", "  more tags than are kept: a purge of any concerns it")
	} else if r.Tags > 0 {
		writeLine(w, "", "  tags: %d", r.Tags)
	}
	if len(r.Codings) > 0 {
		writeLine(w, "", "  also coded as %s", strings.Join(r.Codings, ", "))
	}
}

func writeVary(w io.Writer, name, field string, v cache.VaryField) {
	if v.Absent {
		writeLine(w, name, "%s, absent", field)
	} else {
		writeLine(w, name, "%s: %s", field, v.Value)
	}
}

// writeExplained prints the rules; known are service and key when they stand there already.
func writeExplained(w io.Writer, e *proxy.Explained, after time.Duration, known bool) {
	if !known {
		writeLine(w, "service", "%s", e.Service)
		writeLine(w, "key", "%s", e.Key)
	}
	switch {
	case e.Status == 0:
		writeLine(w, "answer", "none was asked for: the request might do something")
	case e.Origin == "":
		writeLine(w, "answer", "%d, as given", e.Status)
	default:
		writeLine(w, "answer", "%d, from %s", e.Status, e.Origin)
	}
	writeVerdict(w, "lookup", e.First)
	writeVerdict(w, "store", e.Store)
	for _, r := range e.Store.Rules {
		word := "passed"
		if r.Decided {
			word = "decided"
		}
		writeLine(w, "", "  %-8s %v (%s)", word, r.Reason, r.Section)
	}
	if f := e.Freshness; f != nil {
		writeLine(w, "freshness", "%ds from %s, received with an age of %ds: %ds left", f.Lifetime, f.Source, f.Age, f.TTL)
		writeLine(w, "stale use", "%ds while it is validated, %ds when the origins fail, %ds when none can be reached", f.StaleWhileRevalidate, f.StaleIfError, f.StaleOnDisconnect)
	}
	for _, v := range e.Vary {
		writeVary(w, "vary", v.Name, v)
	}
	writeVerdict(w, "after "+after.String(), e.Again)
	if e.CacheStatus != "" {
		writeLine(w, "", "Cache-Status: %s", e.CacheStatus)
	}
}
