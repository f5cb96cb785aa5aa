package cache

import (
	"fmt"
	"strings"

	"nearcast/cache/coding"
)

// Compress is the part of a service's policy that says which stored responses are coded for clients that accept it. An origin's own coded
// responses are stored and served as they come, whatever it says.
type Compress struct {
	// Enabled switches it on. Default false: a coded response has another entity tag and a Vary that the origin's does not have.
	Enabled bool `yaml:"enabled"`
	// Encodings are the content codings to make, the preferred first: it decides between codings that a client accepts equally.
	// Default br, zstd, gzip.
	Encodings []coding.Coding `yaml:"encodings"`
	// Types are the media types to code: "type/subtype", "type/*" or "*+suffix", without parameters. Default: text, JSON, XML, scripts,
	// WebAssembly, SVG and fonts that are not compressed already.
	Types []string `yaml:"types"`
	// MinSize and MaxSize are the sizes of bodies that are coded. Default 1 KiB and 4 MiB.
	MinSize Size `yaml:"min_size"`
	MaxSize Size `yaml:"max_size"`
	// BrotliLevel is 1 to 11, default 6: 11 makes a thirteenth less and takes fifty times as long.
	BrotliLevel int `yaml:"brotli_level"`
	// ZstdLevel is 1 to 22, default 7. There are four steps: below 3, below 6, below 10, and above.
	ZstdLevel int `yaml:"zstd_level"`
	// GzipLevel is 1 to 9, default 6.
	GzipLevel int `yaml:"gzip_level"`
}

// SetDefaults fills in the defaults.
func (c *Compress) SetDefaults() {
	*c = Compress{
		Encodings: []coding.Coding{coding.Brotli, coding.Zstd, coding.Gzip},
		Types: []string{"text/*", "application/json", "*+json", "application/javascript", "application/xml", "*+xml", "application/wasm",
			"font/ttf", "font/otf", "application/vnd.ms-fontobject"},
		MinSize: 1 << 10, MaxSize: 4 << 20, BrotliLevel: 6, ZstdLevel: 7, GzipLevel: 6,
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *Compress) Validate(report func(key, fault string)) {
	if c.Enabled && len(c.Encodings) == 0 {
		report("encodings", "must name at least one of br, zstd and gzip")
	}
	var seen [coding.Count]bool
	for i, x := range c.Encodings {
		if seen[x] {
			report(fmt.Sprintf("encodings[%d]", i), "is the same as an earlier one")
		}
		seen[x] = true
	}
	for i, t := range c.Types {
		if !validTypePattern(t) {
			report(fmt.Sprintf("types[%d]", i), `must be a media type in lower case and without parameters, such as application/json, text/* or *+xml`)
		}
	}
	if c.MinSize < 0 {
		report("min_size", "must not be negative")
	}
	if c.MaxSize < c.MinSize {
		report("max_size", "must be at least min_size")
	}
	for _, l := range [...]struct {
		key    string
		coding coding.Coding
	}{{"brotli_level", coding.Brotli}, {"zstd_level", coding.Zstd}, {"gzip_level", coding.Gzip}} {
		if n := c.level(l.coding); n < 1 || n > coding.MaxLevel[l.coding] {
			report(l.key, fmt.Sprintf("must be between 1 and %d", coding.MaxLevel[l.coding]))
		}
	}
}

// level is what a coding is made at.
func (c *Compress) level(x coding.Coding) int {
	switch x {
	case coding.Brotli:
		return c.BrotliLevel
	case coding.Zstd:
		return c.ZstdLevel
	}
	return c.GzipLevel
}

// validTypePattern checks an entry of Types.
func validTypePattern(t string) bool {
	if suffix, ok := strings.CutPrefix(t, "*+"); ok {
		return lowerToken(suffix)
	}
	kind, sub, ok := strings.Cut(t, "/")
	return ok && lowerToken(kind) && kind != "*" && (sub == "*" || lowerToken(sub) && !strings.Contains(sub, "*"))
}

// lowerToken reports whether s is a token (RFC 9110 §5.6.2) as types are compared.
func lowerToken(s string) bool {
	return s != "" && s == strings.ToLower(s) && !strings.ContainsAny(s, "\"(),/:;<=>?@[\\]{} \t")
}

// covers reports whether the media type of a Content-Type value is one of Types.
func (c *Compress) covers(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.ToLower(trimOWS(t))
	kind, sub, ok := strings.Cut(t, "/")
	if !ok {
		return false
	}
	for _, p := range c.Types {
		switch {
		case p == t:
			return true
		case strings.HasPrefix(p, "*+"):
			if strings.HasSuffix(sub, p[1:]) {
				return true
			}
		case strings.HasSuffix(p, "/*") && p[:len(p)-2] == kind:
			return true
		}
	}
	return false
}

// fits reports whether a body of that length is coded; one of a length that is not known may be.
func (c *Compress) fits(length int64) bool {
	return length < 0 || length >= int64(c.MinSize) && length <= int64(c.MaxSize)
}
