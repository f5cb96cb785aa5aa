package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// newDefault returns a pointer to a new value of that type with its defaults.
func newDefault(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	setDefaults(p.Elem())
	return p
}

// setDefaults calls SetDefaults on a struct and then on every struct in it.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct || isScalar(v.Type()) {
		return
	}
	if d, ok := v.Addr().Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	for i := range v.NumField() {
		if keyName(v.Type().Field(i)) != "" {
			setDefaults(v.Field(i))
		}
	}
}

// walk calls visit with a pointer to every value under v and its path, parents first; what visit changes is kept.
// Maps are walked in the order of their keys.
func walk(v reflect.Value, path string, visit func(ptr any, path, key string)) {
	walkKey(v, path, "", visit)
}

func walkKey(v reflect.Value, path, key string, visit func(ptr any, path, key string)) {
	visit(v.Addr().Interface(), path, key)
	if isScalar(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkKey(v.Elem(), path, key, visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if k := keyName(v.Type().Field(i)); k != "" {
				walkKey(v.Field(i), join(path, k), k, visit)
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range keys {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			walkKey(e, join(path, k.String()), "", visit)
			v.SetMapIndex(k, e)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walkKey(v.Index(i), entry(path, i), "", visit)
		}
	}
}

// isFileKey reports whether a key's value names a file.
func isFileKey(key string) bool { return strings.HasSuffix(key, "_file") }
