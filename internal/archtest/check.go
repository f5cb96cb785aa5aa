package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// imports are the packages of ours that each package imports, all paths below the module; the root package is ".".
type imports map[string][]string

// faults says what of the imports the rules forbid, one sentence each.
func faults(im imports, rules, importers []rule) (list []string) {
	for _, pkg := range sortedKeys(im) {
		own := ruleOf(rules, pkg)
		if own == nil {
			list = append(list, fmt.Sprintf("%s has no rule: say in the diagram what it may import, and why", pkg))
			continue
		}
		for _, dep := range im[pkg] {
			if !matches(own.may, dep) {
				list = append(list, fmt.Sprintf("%s imports %s: %s", pkg, dep, own.because))
			} else if r := ruleOf(importers, dep); r != nil && !matches(r.may, pkg) {
				list = append(list, fmt.Sprintf("%s imports %s: %s", pkg, dep, r.because))
			}
		}
	}
	return list
}

func ruleOf(rules []rule, pkg string) *rule {
	for i := range rules {
		if matches(rules[i].packages, pkg) {
			return &rules[i]
		}
	}
	return nil
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, tree := strings.CutSuffix(p, "/...")
		return p == "..." || p == pkg || tree && (pkg == below || strings.HasPrefix(pkg, below+"/"))
	})
}

// readImports parses the imports of every Go file under root that is not a test, whatever its build constraints.
// Tests may stand up what they need.
func readImports(root string) (imports, error) {
	module, err := moduleOf(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	im := make(imports)
	err = filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return skipDir(root, file, e.Name())
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		return im.add(filepath.ToSlash(rel), file, module)
	})
	return im, err
}

// skipDir passes over directories that are not of the module's packages.
func skipDir(root, dir, name string) error {
	if dir == root {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	return nil
}

// add takes in the imports of one file.
func (im imports) add(pkg, file, module string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	deps := im[pkg]
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		switch rest, ours := strings.CutPrefix(p, module+"/"); {
		case p == module:
			deps = append(deps, ".")
		case ours:
			deps = append(deps, path.Clean(rest))
		}
	}
	slices.Sort(deps)
	im[pkg] = slices.Compact(deps)
	return nil
}

// moduleOf reads the module's path from its go.mod.
func moduleOf(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "module" {
			return strings.Trim(f[1], `"`), nil
		}
	}
	return "", fmt.Errorf("%s names no module", file)
}

func sortedKeys(im imports) []string {
	keys := make([]string, 0, len(im))
	for k := range im {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
