package proxy

import (
	"slices"
	"strings"
	"testing"
)

func TestParseOrigin(t *testing.T) {
	tests := []struct{ in, want, fault string }{
		{"http://10.0.0.10:8080", "http://10.0.0.10:8080", ""},
		{"http://10.0.0.10", "http://10.0.0.10:80", ""},
		{"http://Origin.Example/", "http://origin.example:80", ""},
		{"http://[2001:DB8::1]:81", "http://[2001:db8::1]:81", ""},
		{"http://app_1:8080", "http://app_1:8080", ""},
		{"HTTP://x", "http://x:80", ""},
		{"https://10.0.0.10", "https://10.0.0.10:443", ""},
		{"https://Origin.Example:8443/", "https://origin.example:8443", ""},
		{"h2c://10.0.0.10:50051", "h2c://10.0.0.10:50051", ""},
		{"h2c://x", "h2c://x:80", ""},
		{"https://x:", "", "must have a port from 1 to 65535, or none for port 443"},
		{"ftp://x", "", `has the scheme "ftp"; write an http://, https:// or h2c:// URL`},
		{"10.0.0.10:8080", "", "must be a URL such as"},
		{"localhost:8080", "", "must be a URL such as"},
		{"http://[fe80::1%25eth0]:80", "", "must be without a zone"},
		{"//10.0.0.10", "", "must be a URL such as"},
		{"", "", "must be a URL such as"},
		{"http://", "", "has a host that must have 1 to 253 characters"},
		{"http://:80", "", "has a host that must have 1 to 253 characters"},
		{"http://x:", "", "must have a port from 1 to 65535"},
		{"http://x:0", "", "must have a port from 1 to 65535"},
		{"http://x:65536", "", "must have a port from 1 to 65535"},
		{"http://x:http", "", "must be a URL such as"},
		{"http://user:pw@x", "", "must not hold a user name or password"},
		{"http://x/app", "", "must end after the port"},
		{"http://x?a", "", "must end after the port"},
		{"http://x?", "", "must end after the port"},
		{"http://x#a", "", "must end after the port"},
		{"http://-x", "", "has a host that has a label that begins or ends"},
		{"http://bücher", "", "has a host that may have letters"},
		{"http://a b", "", "must be a URL such as"},
	}
	for _, tt := range tests {
		u, err := ParseOrigin(tt.in)
		switch {
		case tt.fault == "" && (err != nil || u.String() != tt.want):
			t.Errorf("%q: %v, %v; want %s", tt.in, u, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.fault)):
			t.Errorf("%q: %v, %v; want %q", tt.in, u, err, tt.fault)
		}
	}
}

func TestValidHost(t *testing.T) {
	for host, fault := range map[string]string{
		"example.com": "", "*": "", "*.example.com": "", "a": "", "192.0.2.1": "", "[2001:db8::1]": "", "xn--bcher-kva.example": "", "a_b.example": "",
		"":                              "must have 1 to 253",
		"*.":                            "must have 1 to 253",
		"a.*.example":                   "may have a wildcard as its whole first label",
		"*a.example":                    "may have a wildcard as its whole first label",
		"https://example.com":           "must be a host name alone",
		"example.com/":                  "must be a host name alone",
		"example.com:443":               "must be without a port",
		"2001:db8::1":                   "must be without a port",
		"[2001:db8::1]:443":             "must be without a port",
		"[192.0.2.1]":                   "may have letters",
		"example.com.":                  "has an empty label",
		".example.com":                  "has an empty label",
		"a..b":                          "has an empty label",
		"bücher.example":                "may have letters",
		"-a.example":                    "has a label that begins or ends",
		strings.Repeat("a", 64):         "has a label of more than 63",
		strings.Repeat("a.", 127) + "a": "must have 1 to 253",
	} {
		err := validHost(host)
		if (err == nil) != (fault == "") || err != nil && !strings.HasPrefix(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", host, err, fault)
		}
	}
}

func TestValidPath(t *testing.T) {
	for path, fault := range map[string]string{
		"/": "", "/a": "", "/a/b/": "", "/caf%C3%A9": "", "/.well-known": "", "/a..b": "",
		"":      "must begin with",
		"a":     "must begin with",
		"/a?b":  "is a prefix of the path alone",
		"/a#b":  "is a prefix of the path alone",
		"/a/*":  "is a prefix of the path alone",
		"/a b":  "must be ASCII without spaces",
		"/a\n":  "must be ASCII without spaces",
		"/café": "must be ASCII without spaces",
		"/a/..": `must not have "." or ".."`,
		"/./a":  `must not have "." or ".."`,
	} {
		err := validPath(path)
		if (err == nil) != (fault == "") || err != nil && !strings.HasPrefix(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", path, err, fault)
		}
	}
}

func TestCanonicalPath(t *testing.T) {
	for in, want := range map[string]string{"/": "/", "": "/", "//": "/", "/a": "/a", "/a/": "/a", "/a/b//": "/a/b"} {
		if got := CanonicalPath(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestServiceValidate(t *testing.T) {
	tests := []struct {
		why    string
		change func(*ServiceConfig)
		want   []string // the keys reported
	}{
		{"as it should be", func(*ServiceConfig) {}, nil},
		{"nothing given", func(c *ServiceConfig) { c.Hosts, c.Paths, c.Origins = nil, nil, nil }, []string{"hosts", "paths", "origins"}},
		{"regions without origins", func(c *ServiceConfig) { c.Origins = map[string][]string{"fra": {}} }, []string{"origins"}},
		{"a host twice", func(c *ServiceConfig) { c.Hosts = []string{"a", "b", "A"} }, []string{"hosts[2]"}},
		{"a path twice", func(c *ServiceConfig) { c.Paths = []string{"/a", "/a/"} }, []string{"paths[1]"}},
		{"an origin twice", func(c *ServiceConfig) { c.Origins["nyc"] = []string{"http://b", "http://A:80"} }, []string{"origins.nyc[1]"}},
		{"an origin twice, over other protocols", func(c *ServiceConfig) { c.Origins["nyc"] = []string{"h2c://a:80"} }, []string{"origins.nyc[0]"}},
		{"a CA for plain origins", func(c *ServiceConfig) { c.Upstream.CAFile, c.Upstream.ServerName = "f", "x" }, []string{"upstream.ca_file", "upstream.server_name"}},
		{"a CA for one that has TLS", func(c *ServiceConfig) {
			c.Upstream.CAFile, c.Upstream.ServerName, c.Origins["nyc"] = "f", "x", []string{"https://b"}
		}, nil},
		{"no early data", func(c *ServiceConfig) { c.EarlyData = EarlyDataOff }, nil},
		{"what early data can't be", func(c *ServiceConfig) { c.EarlyData = "on" }, []string{"early_data"}},
		{"every fault at once", func(c *ServiceConfig) {
			c.Hosts, c.Paths = []string{"x y", "", "ok"}, []string{"p"}
			c.Origins = map[string][]string{"b": {"x", "http://ok"}, "a": {"ftp://x"}}
		}, []string{"hosts[0]", "hosts[1]", "paths[0]", "origins.a[0]", "origins.b[0]"}},
	}
	for _, tt := range tests {
		var c ServiceConfig
		c.SetDefaults()
		c.Hosts, c.Origins = []string{"shop.example"}, map[string][]string{"fra": {"http://a"}}
		tt.change(&c)
		var keys []string
		c.Validate(func(key, fault string) { keys = append(keys, key) })
		if !slices.Equal(keys, tt.want) {
			t.Errorf("%s: reported %q, want %q", tt.why, keys, tt.want)
		}
	}
}

func TestUpstreamValidate(t *testing.T) {
	var keys []string
	report := func(key, fault string) { keys = append(keys, key) }
	var c UpstreamConfig
	c.SetDefaults()
	c.Validate(report)
	if len(keys) > 0 {
		t.Errorf("the defaults: %q", keys)
	}
	(&UpstreamConfig{ServerName: "a b"}).Validate(report)
	if want := []string{"connect_timeout", "response_timeout", "read_timeout", "server_name", "max_connections", "max_attempts"}; !slices.Equal(keys, want) {
		t.Errorf("nothing: %q, want %q", keys, want)
	}
}
