package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const exampleFile = "../../config.yaml.example"

func readExample(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestExampleLoads(t *testing.T) {
	if _, err := Load(exampleFile); err != nil {
		t.Fatal(err)
	}
}

// commentedKey is a line that shows a key in a comment, such as "# multihop: 3 # ...".
var commentedKey = regexp.MustCompile(`(?m)^( +)# ([a-z_0-9]+: )`)

// anyIndex makes a path of a type out of one of a value.
var anyIndex = regexp.MustCompile(`\[\d+\]`)

// TestExampleHasEveryKey walks the types: a key that the example neither sets nor shows in a comment fails.
func TestExampleHasEveryKey(t *testing.T) {
	text := commentedKey.ReplaceAllString(readExample(t), "$1$2")
	d := newDecoder(newSource("f", nil))
	decodeOnly(t, d, text)
	if len(d.errs) > 0 {
		t.Fatalf("the example with its comments switched on:\n%v", d.errs)
	}
	shown := map[string]bool{}
	for path := range d.places {
		shown[typePath(path)] = true
	}
	for path := range typePaths(reflect.TypeFor[Config](), "") {
		if !shown[path] {
			t.Errorf("config.yaml.example does not have %s", path)
		}
	}
}

// typePath replaces what an operator names by a star: services.*.origins.*[].
func typePath(path string) string {
	path = anyIndex.ReplaceAllString(path, "[]")
	for _, prefix := range []string{"regions.", "services."} {
		path = starAfter(path, prefix)
	}
	return starAfter(starAfter(path, "services.*.origins."), "services.*.cache.negative.")
}

func starAfter(path, prefix string) string {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return path
	}
	end := strings.IndexAny(rest, ".[")
	if end < 0 {
		end = len(rest)
	}
	return prefix + "*" + rest[end:]
}

// typePaths lists every path that a type has.
func typePaths(ty reflect.Type, path string) map[string]bool {
	paths := map[string]bool{}
	add := func(ty reflect.Type, p string) {
		paths[p] = true
		for sub := range typePaths(ty, p) {
			paths[sub] = true
		}
	}
	if isScalar(ty) {
		return paths
	}
	switch ty.Kind() {
	case reflect.Pointer:
		return typePaths(ty.Elem(), path)
	case reflect.Struct:
		for i := range ty.NumField() {
			if f := ty.Field(i); f.IsExported() {
				add(f.Type, join(path, keyName(f)))
			}
		}
	case reflect.Map:
		add(ty.Elem(), path+".*")
	case reflect.Slice, reflect.Array:
		add(ty.Elem(), path+"[]")
	}
	return paths
}

// notDefaults are the values of the example that differ from the default, each for a reason.
var notDefaults = map[string]string{
	"services.*.health.path": `"/" says nothing: the example shows what a health check is for`,
}

// TestExampleStatesTheDefaults compares what the example sets with the default, wherever there is one.
func TestExampleStatesTheDefaults(t *testing.T) {
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	excused := map[string]bool{}
	compared := 0
	compare := func(def, got reflect.Value, path string) {
		if def.IsZero() {
			return
		}
		compared++
		if !reflect.DeepEqual(def.Interface(), got.Interface()) {
			if notDefaults[typePath(path)] != "" {
				excused[typePath(path)] = true
				return
			}
			t.Errorf("%s is %v in the example, and %v by default", path, got, def)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "", func(ptr any, path, _ string) {
		v := reflect.ValueOf(ptr).Elem()
		if v.Kind() != reflect.Struct || isScalar(v.Type()) {
			return
		}
		def := newDefault(v.Type()).Elem()
		for i := range v.NumField() {
			if f := v.Type().Field(i); isScalar(f.Type) || f.Type.Kind() == reflect.Slice {
				compare(def.Field(i), v.Field(i), join(path, keyName(f)))
			}
		}
	})
	for path := range notDefaults {
		if !excused[path] {
			t.Errorf("%s needs no excuse", path)
		}
	}
	if compared < 20 {
		t.Errorf("only %d defaults compared", compared)
	}
}

// TestTypePath guards the two tests above against comparing nothing.
func TestTypePath(t *testing.T) {
	for in, want := range map[string]string{
		"services.shop.origins.nyc[0]": "services.*.origins.*[]", "services.shop": "services.*", "regions.fra.location[1]": "regions.*.location[]",
		"listen[0].tls": "listen[].tls", "services": "services",
	} {
		if got := typePath(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if all := typePaths(reflect.TypeFor[Config](), ""); len(all) < 80 || !all["services.*.origins.*[]"] || !all["anycast.bgp.neighbors[].hold_time"] {
		t.Errorf("%d paths: %v", len(all), slices.Collect(func(yield func(string) bool) {
			for p := range all {
				if !yield(p) {
					return
				}
			}
		}))
	}
}
