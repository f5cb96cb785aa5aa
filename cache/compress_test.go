package cache

import (
	"testing"

	"nearcast/cache/coding"
)

func TestCompressTypes(t *testing.T) {
	p := on().Compress
	for value, want := range map[string]bool{
		"text/html": true, "Text/HTML; charset=utf-8": true, "application/json": true, "application/problem+json": true, "image/svg+xml;x=y": true,
		"text": false, "": false, "application/jsonx": false, "image/png": false, "textual/x": false, "application/json/x": false, "+json": false,
	} {
		if p.covers(value) != want {
			t.Errorf("%q: %t", value, !want)
		}
	}
}

func TestCompressIsValidated(t *testing.T) {
	for _, tt := range []struct {
		key    string
		change func(*Compress)
	}{
		{"encodings", func(c *Compress) { c.Encodings = nil }},
		{"encodings[1]", func(c *Compress) { c.Encodings = []coding.Coding{coding.Gzip, coding.Gzip} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"text"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"Text/html"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"*/*"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"text/html; charset=utf-8"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"*+"} }},
		{"min_size", func(c *Compress) { c.MinSize = -1 }},
		{"max_size", func(c *Compress) { c.MaxSize = 1 }},
		{"brotli_level", func(c *Compress) { c.BrotliLevel = 12 }},
		{"zstd_level", func(c *Compress) { c.ZstdLevel = 0 }},
		{"gzip_level", func(c *Compress) { c.GzipLevel = 10 }},
		{"", func(*Compress) {}},
	} {
		c := on().Compress
		c.Enabled = true
		tt.change(&c)
		got := ""
		c.Validate(func(key, _ string) { got += key })
		if got != tt.key {
			t.Errorf("complains of %q, want %q", got, tt.key)
		}
	}
}
