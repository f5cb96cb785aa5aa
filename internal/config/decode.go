package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go values from a syntax tree. It goes on after a fault, so that all of them are found.
type decoder struct {
	src  *source
	errs Errors

	places map[string]place // of every key and list entry that the file gives, by path
	faulty map[string]bool  // paths whose value is not what the file says
}

// place is where a path's key and value are written. A list entry has no key.
type place struct{ key, value span }

func newDecoder(src *source) *decoder {
	return &decoder{src: src, places: make(map[string]place), faulty: make(map[string]bool)}
}

// fault notes an error in the value of path.
func (d *decoder) fault(at span, path, msg, hint string) {
	d.errs = append(d.errs, d.src.fault(at, path, msg, hint))
	d.faulty[path] = true
}

// given reports whether the file has that key.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join appends a key to a path, in quotes where it could be misread.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func entry(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// decode fills v, which has its defaults, from n.
func (d *decoder) decode(n ast.Node, v reflect.Value, path string) {
	if msg, hint := refused(n); msg != "" {
		d.fault(nodeSpan(n), path, msg, hint)
		return
	}
	if isScalar(v.Type()) {
		d.scalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := newDefault(v.Type().Elem())
		d.decode(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		d.mapping(n, path, func(key string, value ast.Node, at place) { d.field(v, path, key, value, at) })
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		d.mapping(n, path, func(key string, value ast.Node, _ place) {
			e := newDefault(v.Type().Elem()).Elem()
			d.decode(value, e, join(path, key))
			m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), e)
		})
		v.Set(m)
	case reflect.Slice, reflect.Array:
		d.sequence(n, v, path)
	default:
		panic("no configuration type has the kind " + v.Kind().String())
	}
}

// refused says why a node of YAML's less plain kinds is not taken, or why an empty one is not.
func refused(n ast.Node) (msg, hint string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		return "anchors and aliases are not supported", "write the value out in each place"
	case *ast.TagNode:
		return "tags are not supported", "write the value without it"
	case nil, *ast.NullNode:
		return "the key has no value", "write one, or leave the key out for its default"
	}
	return "", ""
}

// mapping calls each for every key of a mapping, once its place is noted and it is known not to be there twice.
func (d *decoder) mapping(n ast.Node, path string, each func(key string, value ast.Node, at place)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fault(nodeSpan(n), path, "is "+kindOf(n)+", and must be a mapping", "write keys and values, each on a line: \"key: value\"")
		return
	}
	for it := m.MapRange(); it.Next(); {
		kv := it.KeyValue()
		at := place{nodeSpan(kv.Key), nodeSpan(kv.Value)}
		key, ok := keyText(kv.Key)
		if !ok {
			d.fault(at.key, path, "a key must be a plain word", "merge keys, aliases and composed keys are not supported")
			continue
		}
		p := join(path, key)
		if first, twice := d.places[p]; twice {
			d.fault(at.key, p, fmt.Sprintf("the key is here twice, first on line %d", first.key.line), "remove one of them")
			continue
		}
		if _, null := kv.Value.(*ast.NullNode); null || kv.Value == nil {
			at.value = at.key
			d.places[p] = at
			d.fault(at.key, p, "the key has no value", "write one, or leave the key out for its default")
			continue
		}
		d.places[p] = at
		each(key, kv.Value, at)
	}
}

// field decodes the value of a struct's key.
func (d *decoder) field(v reflect.Value, path, key string, value ast.Node, at place) {
	var known []string
	for i := range v.NumField() {
		name := keyName(v.Type().Field(i))
		if name == key {
			d.decode(value, v.Field(i), join(path, key))
			return
		}
		if name != "" {
			known = append(known, name)
		}
	}
	p := join(path, key)
	delete(d.places, p)
	hint, nearest := suggest(key, known)
	if nearest != "" {
		d.faulty[join(path, nearest)] = true // what was meant is not missing too
	}
	d.fault(at.key, p, "there is no such key", hint)
}

// keyName is the key that a struct's field is decoded from, or "".
func keyName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if !f.IsExported() || name == "-" {
		return ""
	}
	return name
}

// sequence fills a slice, or an array of just as many entries.
func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		hint := "write each entry on a line of its own: \"- entry\""
		if text, _, ok := scalarText(n); ok {
			hint = "write [" + text + "]"
		}
		d.fault(nodeSpan(n), path, "is "+kindOf(n)+", and must be a list", hint)
		return
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	} else if len(s.Values) != v.Len() {
		d.fault(nodeSpan(n), path, fmt.Sprintf("has %d entries, and must have %d", len(s.Values), v.Len()), "")
		return
	}
	for i, value := range s.Values {
		p, at := entry(path, i), nodeSpan(value)
		d.places[p] = place{at, at}
		setDefaults(v.Index(i))
		d.decode(value, v.Index(i), p)
	}
}

// keyText is a mapping's key as text.
func keyText(n ast.Node) (string, bool) {
	if _, ok := n.(*ast.NullNode); ok {
		return "", false
	}
	text, _, ok := scalarText(n)
	return text, ok
}

// kindOf names what a node is.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	}
	return "a single value"
}
