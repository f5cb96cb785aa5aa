package nethttp

import (
	"net/http"
	"slices"
	"strings"

	"nearcast/proxy/message"
)

// Fields turns a header map into a field list: lower-case names in alphabetical order, each one's lines in the order received. It leaves out
// the fields that Connection names (RFC 9110 §7.6.1) and those that drop, which gets the name in lower case, is true for.
func Fields(h http.Header, drop func(name string, values []string) bool) message.Fields {
	if len(h) == 0 {
		return nil
	}
	names := make([]string, 0, len(h))
	lines := 0
	for name, values := range h {
		names = append(names, name)
		lines += len(values)
	}
	slices.Sort(names)
	named := connectionOptions(h["Connection"])
	f := make(message.Fields, 0, lines)
	for _, canonical := range names {
		name := strings.ToLower(canonical)
		if drop(name, h[canonical]) || slices.Contains(named, name) {
			continue
		}
		for _, v := range h[canonical] {
			f = append(f, message.Field{Name: name, Value: v})
		}
	}
	return f
}

// connectionOptions returns the field names that Connection lists, in lower case.
func connectionOptions(values []string) []string {
	var names []string
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			names = append(names, strings.ToLower(strings.Trim(name, " \t")))
		}
	}
	return names
}
