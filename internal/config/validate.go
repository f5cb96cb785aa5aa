package config

import (
	"reflect"
	"slices"
	"strings"
)

// validator is a component's configuration that knows its own rules. It calls report with the key, or the path of keys below it,
// and the fault of each value that can't be.
type validator interface {
	Validate(report func(key, fault string))
}

// validate lets every component check its own part, wherever it stands, and then checks what spans several.
func (d *decoder) validate(c *Config) {
	walk(reflect.ValueOf(c).Elem(), "", func(ptr any, path, _ string) {
		if v, ok := ptr.(validator); ok {
			v.Validate(func(key, fault string) { d.report(below(path, key), fault, "") })
		}
	})
	r := rules{c: c, d: d}
	r.check()
}

func below(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}

// report notes a fault of a decoded value, at the place of the value or, when the file does not have it, of the section that it is
// missing from. It keeps quiet about values that decoding has complained of already: one mistake makes one error.
func (d *decoder) report(path, fault, hint string) {
	d.reportAt(d.spanOf(path), path, fault, hint)
}

// reportKey notes a fault of a key rather than of its value.
func (d *decoder) reportKey(path, fault, hint string) {
	d.reportAt(d.places[path].key, path, fault, hint)
}

func (d *decoder) reportAt(at span, path, fault, hint string) {
	if !d.blamed(path) {
		d.errs = append(d.errs, d.src.fault(at, path, fault, hint))
	}
}

// blamed reports whether decoding found a fault in the value of path, in something in it, or in something it is in.
func (d *decoder) blamed(path string) bool {
	for p := path; p != ""; p = parent(p) {
		if d.faulty[p] {
			return true
		}
	}
	for p := range d.faulty {
		if rest, ok := strings.CutPrefix(p, path); ok && rest != "" && (rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// refused reports whether there is an error of exactly that path.
func (d *decoder) refused(path string) bool {
	return slices.ContainsFunc(d.errs, func(e Error) bool { return e.Path == path })
}

// keysOf returns the plain keys that the file has right under path, those with faulty values too.
func (d *decoder) keysOf(path string) []string {
	var keys []string
	for p := range d.places {
		if key, ok := strings.CutPrefix(p, path+"."); ok && plainKey.MatchString(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *decoder) spanOf(path string) span {
	if at, ok := d.places[path]; ok {
		return at.value
	}
	for p := parent(path); p != ""; p = parent(p) {
		if at, ok := d.places[p]; ok {
			return at.key
		}
	}
	return span{}
}

// parent is the path without its last key or index.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
