package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
)

// Load reads a configuration file. The files it names are returned as absolute paths, relative ones taken from the file's own
// directory; they are not opened. What is wrong with the content is an Errors with all there is.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("the directory of the configuration file %s cannot be found: %w", path, err)
	}
	c.resolveFiles(filepath.Dir(abs))
	return c, nil
}

// read returns the file's content, at most a byte more than is allowed.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the configuration file %s does not exist: %w", path, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the configuration file %s may not be read by this user: %w", path, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("the configuration file cannot be opened: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration file cannot be read: %w", err)
	}
	return data, nil
}

// Parse decodes and validates a configuration; name stands for the file in errors. An error is an Errors.
// Files that the configuration names stay as they are written.
func Parse(name string, data []byte) (*Config, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	src := newSource(name, data)
	top, fault := src.parseYAML(data)
	if fault != nil {
		return nil, Errors{*fault}
	}
	c := newDefault(reflect.TypeFor[Config]()).Interface().(*Config)
	d := newDecoder(src)
	d.decode(top, reflect.ValueOf(c).Elem(), "")
	c.normalise()
	d.validate(c)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	return c, nil
}

// resolveFiles makes the path of every file that the configuration names absolute.
func (c *Config) resolveFiles(dir string) {
	walk(reflect.ValueOf(c).Elem(), "", func(ptr any, _, key string) {
		if s, ok := ptr.(*string); ok && isFileKey(key) && *s != "" && !filepath.IsAbs(*s) {
			*s = filepath.Join(dir, *s)
		}
	})
	if d := c.Cache.Disk; d != nil && !filepath.IsAbs(d.Path) {
		d.Path = filepath.Join(dir, d.Path)
	}
}
