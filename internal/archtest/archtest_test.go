package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestImportsFollowTheDiagram(t *testing.T) {
	root := moduleRoot(t)
	im, err := readImports(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(im) < 8 || !slices.Contains(im["internal/config"], "proxy/front") {
		t.Fatalf("the files were not read: %v", im)
	}
	for _, f := range faults(im, rules, importers) {
		t.Error(f)
	}
}

// moduleRoot is the nearest directory upwards with a go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

func TestForbiddenImportsAreFound(t *testing.T) {
	tests := []struct {
		why      string
		pkg, dep string
		want     string // part of the one sentence, "" when it is allowed
	}{
		{"the codec knows messages", "proxy/h2", "proxy/message", ""},
		{"and what lies below them", "proxy/h3", "proxy/message/body", ""},
		{"and the cache's encoded blocks", "proxy/h1", "cache", ""},
		{"but not the pipeline", "proxy/h1", "proxy", "proxy/h1 imports proxy: a codec turns"},
		{"nor health", "proxy/upstream", "health", "proxy/upstream imports health"},
		{"the seam stands on nothing", "proxy/message", "cache", "proxy/message imports cache: the seam"},
		{"the cache knows messages", "cache", "proxy/message", ""},
		{"but not who decodes them", "cache", "proxy/h1", "cache imports proxy/h1"},
		{"the model of the cache shares nothing with it", "cache/modeltest", "cache", "cache/modeltest imports cache: a model that shares"},
		{"and only tests ask it", "proxy", "cache/modeltest", "proxy imports cache/modeltest: only tests"},
		{"health knows nothing", "health", "geo", "health imports geo"},
		{"not even messages", "health", "proxy/message", "health imports proxy/message"},
		{"geo knows nothing", "geo", "health", "geo imports health"},
		{"announcing uses health", "bgp", "health", ""},
		{"and its own parts", "bgp", "bgp/bfd", ""},
		{"but not the proxy", "bgp", "proxy", "bgp imports proxy: announcing"},
		{"nor does the proxy use it", "proxy", "bgp", "proxy imports bgp"},
		{"what edges tell each other decides nothing", "fleet", "bgp", "fleet imports bgp: edges tell"},
		{"and announcing does not ask by itself", "bgp", "fleet", "bgp imports fleet: announcing"},
		{"the pipeline knows no front end", "proxy", "proxy/h1", "proxy imports proxy/h1: the pipeline"},
		{"the sockets do", "proxy/front", "proxy/h3", ""},
		{"but not the pipeline", "proxy/front", "proxy", "proxy/front imports proxy"},
		{"nobody below imports the configuration", "proxy", "internal/config", "proxy imports internal/config"},
		{"the configuration does not import the wiring", "internal/config", "cmd/nearcast", "internal/config imports cmd/nearcast"},
		{"the wiring imports everything", "cmd/nearcast", "internal/lab", ""},
		{"the configuration needs no lab", "internal/config", "internal/lab", "internal/config imports internal/lab"},
		{"the lab may measure", "internal/lab", "bench/load", ""},
		{"the measuring may not need the lab", "bench", "internal/lab", "bench imports internal/lab: the product does not need its trials"},
		{"nor any part of it but namespaces and programs", "bench/room", "internal/lab/wan", "bench/room imports internal/lab/wan: the product does not need its trials"},
		{"the measuring room is a namespace", "bench/room", "internal/lab/netns", ""},
		{"with programs in it", "bench/room", "internal/lab/process", ""},
		{"and nobody else's", "bench/peers", "internal/lab/netns", "bench/peers imports internal/lab/netns: only what tries out"},
		{"peers are measured over TLS", "bench/table", "internal/pki", ""},
		{"the product may not need its measuring", "proxy", "bench/load", "proxy imports bench/load"},
		{"the generator has its own parts", "bench/load", "bench/process", ""},
		{"but not the product's", "bench/load", "proxy/h1", "bench/load imports proxy/h1: what measures the product"},
		{"the wiring may make certificates trusted", "cmd/nearcast", "internal/pki", ""},
		{"the proxy may not", "proxy/front", "internal/pki", "proxy/front imports internal/pki"},
		{"trying out does not import the wiring", "internal/demo", "cmd/nearcast", "internal/demo imports cmd/nearcast"},
		{"a demonstration is no lab", "internal/demo", "internal/lab", "internal/demo imports internal/lab"},
		{"a new package must say what it is", "internal/clever", "cache", "internal/clever has no rule"},
		{"a name that begins alike is another package", "cachet", "cache", "cachet has no rule"},
	}
	for _, tt := range tests {
		got := faults(imports{tt.pkg: {tt.dep}}, rules, importers)
		switch {
		case tt.want == "" && len(got) == 0:
		case tt.want != "" && len(got) == 1 && strings.Contains(got[0], tt.want):
		default:
			t.Errorf("%s: %s imports %s: got %q, want %q", tt.why, tt.pkg, tt.dep, got, tt.want)
		}
	}
}

func TestReadImports(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":                  "// a comment\nmodule example.net/edge\n\ngo 1.26\n",
		"a/a.go":                  "package a\nimport (\n\t\"fmt\"\n\tx \"example.net/edge/b\"\n\t\"example.net/edge-not-ours\"\n)\nfunc f() { fmt.Println(x.X) }",
		"a/windows.go":            "//go:build windows\n\npackage a\nimport _ \"example.net/edge/c\"",
		"a/a_test.go":             "package a\nimport _ \"example.net/edge/testonly\"",
		"b/b.go":                  "package b\nimport _ \"example.net/edge\"",
		"b/testdata/d.go":         "package d\nimport _ \"example.net/edge/a\"",
		".hidden/h.go":            "package h\nimport _ \"example.net/edge/a\"",
		"tool/go.mod":             "module other",
		"tool/t.go":               "package t\nimport _ \"example.net/edge/a\"",
		"b/deep/er/deep.go":       "package deep",
		"b/deep/er/README.md":     "import",
		"vendor/example.net/v.go": "package v\nimport _ \"example.net/edge/a\"",
	} {
		p := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	im, err := readImports(root)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "b c", "b": ".", "b/deep/er": ""}
	if len(im) != len(want) {
		t.Errorf("packages %v, want %v", sortedKeys(im), want)
	}
	for pkg, deps := range want {
		if got := strings.Join(im[pkg], " "); got != deps {
			t.Errorf("%s imports %q, want %q", pkg, got, deps)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "a/broken.go"), []byte("pakage a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readImports(root); err == nil {
		t.Error("a file that cannot be parsed was passed over")
	}
}
