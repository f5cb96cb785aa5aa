package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// File is a rendered file of a server's configuration.
type File struct {
	Name string
	Text string
}

// Render returns the configuration of the peer for the site.
func (p Peer) Render(s Site) ([]File, error) {
	files := make([]File, 0, len(p.files))
	for _, name := range p.files {
		path := "templates/" + p.Name + "/" + name
		text, err := templates.ReadFile(path)
		if err != nil {
			return nil, err
		}
		t, err := template.New(path).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, s); err != nil {
			return nil, err
		}
		files = append(files, File{name, b.String()})
	}
	return files, nil
}

// Write renders the configuration into the site's directory.
func (p Peer) Write(s Site) error {
	files, err := p.Render(s)
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", p.Name, err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, f.Name), []byte(f.Text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Command is the command line that runs the peer in the foreground, once its configuration was written, and what it wants in its
// environment.
func (p Peer) Command(program string, s Site) (args, env []string) {
	if p.env != nil {
		env = p.env(s)
	}
	return p.args(program, s), env
}
