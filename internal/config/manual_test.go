package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheManualsTwoRegionsLoad: the file of one edge as it stands in the manual, and that of the other, which has other lines in the places
// of some.
func TestTheManualsTwoRegionsLoad(t *testing.T) {
	manual, err := os.ReadFile("../../docs/anycast.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n## Two regions, whole\n")
	section, _, _ = strings.Cut(section, "\n## ")
	parts := strings.Split(section, "```")
	if len(parts) != 5 {
		t.Fatalf("the section has %d code blocks, and should have 2", len(parts)/2)
	}
	fra := strings.Split(strings.TrimPrefix(parts[1], "yaml\n"), "\n")
	nyc := append([]string(nil), fra...)
	for line := range strings.Lines(strings.TrimPrefix(parts[3], "yaml\n")) {
		line = strings.TrimSuffix(line, "\n")
		key, _, _ := strings.Cut(line, ":")
		places := 0
		for i := range nyc {
			if strings.HasPrefix(nyc[i], key+":") {
				nyc[i] = line
				places++
			}
		}
		if places != 1 {
			t.Errorf("%q has %d places in the file, and should have 1", line, places)
		}
	}
	for _, lines := range [][]string{fra, nyc} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file)
		if err != nil {
			t.Errorf("%s", err)
			continue
		}
		if c.Anycast == nil || c.Fleet == nil || len(c.Regions) != 2 || c.Anycast.BGP.Neighbors[0].BFD == nil {
			t.Errorf("%s has not all that the manual speaks of", c.Edge.Name)
		}
	}
}
