package config

import (
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"nearcast/cache"
	"nearcast/geo"
)

func TestWhatIsNotYAMLIsShownWithItsPlace(t *testing.T) {
	tests := []struct{ why, text, want string }{
		{"empty", "", "1:1: the file is empty; config.yaml.example"},
		{"nothing but comments", "# nothing\n\n", "1:1: the file is empty"},
		{"two documents", "version: 1\n---\nversion: 1\n", "2:1: a second document begins here"},
		{"a tab for indentation", "edge:\n\tname: e\n", "2:1: a tab cannot indent or begin a value; use spaces"},
		{"a bracket left open", "listen: [1, 2\nedge: x\n", "2:1: not valid YAML: ',' or ']' must be specified"},
		{"a quote left open", "edge: {name: \"x}\n", "1:14: not valid YAML: could not find end character of double-quoted text"},
		{"a colon in a value", "edge: name: e\n", "1:7: not valid YAML: mapping value is not allowed in this context; check the indentation and quote"},
		{"wrong indentation", "edge:\n  name: e\n   region: r\n", "2:9: not valid YAML: mapping value"},
		{"Latin-1", "version: 1\nedge: {name: caf\xe9}\n", "2:17: the file is not UTF-8 text; save it as UTF-8"},
		{"brackets without end", strings.Repeat("[", 100000), "1:101: not valid YAML: nested more than 100 deep"},
		{"dashes without end", strings.Repeat("- ", 100000), "1:201: not valid YAML: nested more than 100 deep"},
		{"a list at the top", "- version: 1\n", "1:1: is a list, and must be a mapping"},
		{"a word at the top", "hello\n", "1:1: is a single value, and must be a mapping"},
		{"a huge file", strings.Repeat("#\n", maxSize), "1:1: the file has more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.text))
			got := lines(t, err)
			if len(got) == 0 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	check(t, []row{
		{"an unknown key, misspelled", "shutdown: {drain_dealy: 30s}", []string{`1:12: shutdown.drain_dealy: there is no such key; known here: drain_timeout, pause, settle`}},
		{"the nearest key is suggested", "shutdown: {settel: 2s}", []string{`1:12: shutdown.settel: there is no such key; did you mean "settle"?`}},
		{"the beginning of a key is enough", "shutdown: {drain: 2s}", []string{`1:12: shutdown.drain: there is no such key; did you mean "drain_timeout"?`}},
		{"an unknown section", "liten: []", []string{`1:1: liten: there is no such key; did you mean "listen"?`}},
		{"a key given twice in a block", "log:\n  level: info\n  access: off\n  level: warn\n", []string{"4:3: log.level: the key is here twice, first on line 2; remove one of them"}},
		{"a section given twice", "log: {level: info}\nlog: {access: off}\n", []string{"2:1: log: the key is here twice, first on line 1"}},
		{"a service given twice", "services:\n  a: {hosts: [\"*\"], origins: {r: [\"http://x\"]}}\n  a: {}\n", []string{"3:3: services.a: the key is here twice"}},
		{"what is meant by an unknown key is not missing too", "services:\n  a: {host: [\"*\"], origins: {r: [\"http://x\"]}}\n",
			[]string{`2:7: services.a.host: there is no such key; did you mean "hosts"?`}},
		{"a key without a value", "geo:\n", []string{"1:1: geo: the key has no value; write one, or leave the key out"}},
		{"null", "geo: {database_file: null}", []string{"1:7: geo.database_file: the key has no value"}},
		{"a tilde", "geo: {database_file: ~}", []string{"1:7: geo.database_file: the key has no value"}},
		{"anchors", "geo: &g {database_file: x}", []string{"1:6: geo: anchors and aliases are not supported"}},
		{"aliases", "geo: *g", []string{"1:6: geo: anchors and aliases are not supported"}},
		{"merge keys", "geo: {<<: {database_file: x}}", []string{"1:7: geo: a key must be a plain word"}},
		{"tags", "geo: {database_file: !!str x}", []string{"1:22: geo.database_file: tags are not supported"}},
		{"composed keys", "geo: {? [a, b] : c}", []string{"1:16: not valid YAML: found an invalid key"}},
		{"a quoted key is the key", "\"geo\": {'database_file': x}", nil},
		{"a key that needs quotes in a path", "regions:\n  \"a.b\": {}\n", []string{
			`2:3: regions."a.b": the region's name must be`, `2:3: regions."a.b".location: is missing`, `4:1: edge.region: is missing`}},
	})
}

func TestValues(t *testing.T) {
	check(t, []row{
		{"a single value for a list", `listen: ":80"`, []string{`1:9: listen: is a single value, and must be a list; write [:80]`}},
		{"a mapping for a list", `listen: {address: ":80"}`, []string{`1:9: listen: is a mapping, and must be a list; write each entry`}},
		{"a list for a mapping", "log: [info]", []string{"1:6: log: is a list, and must be a mapping; write keys and values"}},
		{"a list for a single value", "log: {level: [info]}", []string{"1:14: log.level: is a list, and must be a single value"}},
		{"an empty list entry", "listen:\n  - \n", []string{"2:"}},
		{"a duration without a unit", "shutdown: {settle: 5}", []string{`1:20: shutdown.settle: "5" is not a duration; write the unit too: 5s for seconds, 5ms`}},
		{"a duration in words", "shutdown: {settle: 5 seconds}", []string{`1:20: shutdown.settle: "5 seconds" is not a duration; write a number with its unit`}},
		{"a negative duration", "shutdown: {settle: -5s}", []string{`1:20: shutdown.settle: -5s is negative`}},
		{"a stop that never ends", "shutdown: {settle: 2562047h, drain_timeout: 2562047h}", []string{"1:20: shutdown.settle: must be from 0 to 10m", "1:45: shutdown.drain_timeout: must be from 0 to 24h"}},
		{"zero needs no unit", "shutdown: {settle: 0}", nil},
		{"a size in decimal units", "cache: {memory: 1GB}", []string{`1:17: cache.memory: "1GB" is not a size; write a whole number of bytes, KiB`}},
		{"a truth value of old YAML", "listen: [{address: \":80\", tls: yes}]", []string{`1:32: listen[0].tls: "yes" is not a truth value; write true or false`}},
		{"a quoted truth value", "listen: [{address: \":80\", tls: \"true\"}]", []string{`1:32: listen[0].tls: "true" is not a truth value; write true or false, without quotes`}},
		{"a fraction for a whole number", "limits: {max_streams: 1.5}", []string{`1:23: limits.max_streams: "1.5" is not a whole number`}},
		{"a number in quotes", "limits: {max_streams: \"5\"}", []string{`1:23: limits.max_streams: "5" is not a whole number; write decimal digits alone, without quotes`}},
		{"hexadecimal", "limits: {max_streams: 0x10}", []string{`1:23: limits.max_streams: "0x10" is not a whole number`}},
		{"octal, which a leading zero is to some", "limits: {max_streams: 010}", []string{`1:23: limits.max_streams: "010" is not a whole number`}},
		{"underscores", "limits: {max_streams: 1_000}", []string{`1:23: limits.max_streams: "1_000" is not a whole number`}},
		{"more than 64 bits", "limits: {max_streams: 99999999999999999999}", []string{`1:23: limits.max_streams: 99999999999999999999 is out of range`}},
		{"a log level that is none", "log: {level: warning}", []string{`1:14: log.level: "warning" is not a log level; write debug, info, warn or error`}},
		{"infinity", "regions: {here: {location: [.inf, 0]}}\nedge: {name: e, region: here}", []string{`1:29: regions.here.location[0]: ".inf" is not a number`}},
		{"three coordinates", "regions: {here: {location: [1, 2, 3]}}\nedge: {name: e, region: here}", []string{`1:28: regions.here.location: has 3 entries, and must have 2`}},
		{"words for coordinates", "regions: {here: {location: [north, 2]}}\nedge: {name: e, region: here}", []string{`1:29: regions.here.location[0]: "north" is not a number`}},
	})
}

func TestAnycastValues(t *testing.T) {
	rows := []row{
		{"an AS number of more than 32 bits", "anycast: {bgp: {asn: 4294967296}}", []string{"1:22: anycast.bgp.asn: 4294967296 is out of range; write a number from 0 to 4294967295"}},
		{"a port of more than 16 bits", "anycast: {bgp: {neighbors: [{port: 65536}]}}", []string{"1:36: anycast.bgp.neighbors[0].port: 65536 is out of range; write a number from 0 to 65535"}},
		{"a negative number where there is none", "anycast: {bgp: {asn: -1}}", []string{"1:22: anycast.bgp.asn: -1 is out of range"}},
		{"an address for a prefix", "anycast: {prefixes: [192.0.2.1]}", []string{`1:22: anycast.prefixes[0]: "192.0.2.1" is not an address prefix; write one such as 192.0.2.0/24`}},
		{"a community without quotes in a list", "anycast: {attributes: {communities: [64500:1]}}", []string{`1:38: anycast.attributes.communities[0]: is a mapping, and must be a single value; if the colon belongs to the value, write it in quotes`}},
		{"a blackhole", "anycast: {attributes: {communities: [\"65535:666\"]}}", []string{`1:38: anycast.attributes.communities[0]: "65535:666" is BLACKHOLE (RFC 7999)`}},
		{"what is the drain's, at a neighbor", "anycast: {bgp: {neighbors: [{attributes: {communities: [graceful-shutdown]}}]}}", []string{`1:57: anycast.bgp.neighbors[0].attributes.communities[0]: "graceful-shutdown" is GRACEFUL_SHUTDOWN (RFC 8326), which belongs to the drain`}},
		{"a standard community for a large one", "anycast: {per_prefix: [{attributes: {large_communities: [\"64500:1\"]}}]}", []string{`1:58: anycast.per_prefix[0].attributes.large_communities[0]: "64500:1" is not a large community; write three numbers`}},
		{"a negative MED", "anycast: {attributes: {med: -1}}", []string{"1:29: anycast.attributes.med: -1 is out of range; write a number from 0 to 4294967295"}},
		{"prepends as a list", "anycast: {attributes: {prepend: [64500, 64500]}}", []string{"1:33: anycast.attributes.prepend: is a list, and must be a single value"}},
		{"a key misspelled at a prefix of a neighbor", "anycast: {bgp: {neighbors: [{per_prefix: [{atributes: {}}]}]}}", []string{`1:44: anycast.bgp.neighbors[0].per_prefix[0].atributes: there is no such key; did you mean "attributes"?`}},
		{"a name for an address", "anycast: {bgp: {router_id: router}}", []string{`1:28: anycast.bgp.router_id: "router" is not an IP address; write one such as 192.0.2.1`}},
	}
	for _, r := range rows {
		d := newDecoder(newSource("f", nil))
		decodeOnly(t, d, r.fragment)
		if got := lines(t, d.errs); len(got) != 1 || !strings.HasPrefix(got[0], r.want[0]) {
			t.Errorf("%s: got %q, want %q", r.why, got, r.want)
		}
	}
}

func TestDecodedValues(t *testing.T) {
	c, err := Parse("f", []byte(complete(`
edge: {name: e-1, region: here}
regions: {here: {location: [50, -8.68]}, 7: {location: [-90, 180]}}
listen:
  - address: ":443"
    tls: true
  - {address: ":80", http3: false}
tls: {certificates: [{cert_file: a.pem, key_file: /b.key}]}
services:
  s:
    hosts: [Shop.Example.COM, 192.0.2.1]
    origins: {here: ["http://10.0.0.1"], "7": [http://10.0.0.2]}
    cache: {enabled: false, default_ttl: 1m30s}
    health: {interval: 2s}
  t: {hosts: ["*"], paths: [/a, /b/], origins: {here: [http://x]}}
cache: {memory: 2GiB, max_object: 4096}
log: {level: debug, access: off}
`)))
	if err != nil {
		t.Fatal(err)
	}
	s, u := c.Services["s"], c.Services["t"]
	for what, ok := range map[string]bool{
		"location":                 c.Regions["here"].Location == geo.Location{50, -8.68},
		"a number as a region":     c.Regions["7"].Location == geo.Location{-90, 180},
		"http3 by default":         c.Listen[0].HTTP3 == nil && c.Listen[0].ServeHTTP3(),
		"http3 switched off":       c.Listen[1].HTTP3 != nil && !*c.Listen[1].HTTP3,
		"hosts in lower case":      reflect.DeepEqual(s.Hosts, []string{"shop.example.com", "192.0.2.1"}),
		"default of a list":        reflect.DeepEqual(s.Paths, []string{"/"}),
		"a list replaces":          reflect.DeepEqual(u.Paths, []string{"/a", "/b/"}),
		"switched off":             !s.Cache.Enabled && s.Cache.CacheStatus == cache.StatusOn && u.Cache.Enabled,
		"duration":                 s.Cache.DefaultTTL == 90*time.Second,
		"defaults beside a value":  s.Health.Interval == 2*time.Second && s.Health.Timeout == 500*time.Millisecond && s.Health.Fall == 3,
		"sizes":                    c.Cache.Memory == 2<<30 && c.Cache.MaxObject == 4096,
		"level":                    c.Log.Level == slog.LevelDebug && c.Log.Access == "off",
		"files stay as written":    c.TLS.Certificates[0].CertFile == "a.pem",
		"sections that are absent": c.Limits.MaxBodySize == 1<<30,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

func TestDefaultsInEveryListEntry(t *testing.T) {
	d := newDecoder(newSource("f", nil))
	c := decodeOnly(t, d, `
anycast:
  prefixes: [192.0.2.0/24, "2001:db8::/48"]
  bgp:
    asn: 4294967295
    neighbors: [{address: 198.51.100.1}, {address: "2001:db8::1", hold_time: 30s, port: 1790}]
`)
	if len(d.errs) > 0 {
		t.Fatal(d.errs)
	}
	b := c.Anycast.BGP
	if b.ASN != 4294967295 || b.Neighbors[0].Port != 179 || b.Neighbors[0].HoldTime != 9*time.Second ||
		b.Neighbors[1].Port != 1790 || b.Neighbors[1].HoldTime != 30*time.Second || c.Anycast.AnnounceWhen.HealthyOrigins != 1 {
		t.Errorf("%+v", c.Anycast)
	}
	if want := netip.MustParsePrefix("2001:db8::/48"); c.Anycast.Prefixes[1] != want {
		t.Errorf("prefixes %v", c.Anycast.Prefixes)
	}
}

// decodeOnly decodes without validating.
func decodeOnly(t *testing.T, d *decoder, text string) *Config {
	t.Helper()
	d.src = newSource("f", []byte(text))
	top, fault := d.src.parseYAML([]byte(text))
	if fault != nil {
		t.Fatal(fault)
	}
	c := newDefault(reflect.TypeFor[Config]()).Interface().(*Config)
	d.decode(top, reflect.ValueOf(c).Elem(), "")
	return c
}

func TestLineEndsAndByteOrderMark(t *testing.T) {
	text := "\uFEFF" + strings.ReplaceAll(complete("log:\n  level: info\n  acess: off\n"), "\n", "\r\n")
	_, err := Parse("f", []byte(text))
	if got := lines(t, err); len(got) != 1 || !strings.HasPrefix(got[0], `3:3: log.acess: there is no such key; did you mean "access"?`) {
		t.Errorf("a file as some editors write it: %q", got)
	}
	if strings.Contains(err.Error(), "\r") {
		t.Errorf("carriage returns in the message: %q", err)
	}
}

func TestEveryConfigTypeIsDecodable(t *testing.T) {
	var visit func(reflect.Type, string)
	visit = func(ty reflect.Type, path string) {
		if isScalar(ty) {
			switch ty.Kind() {
			case reflect.Func, reflect.Chan, reflect.Interface, reflect.Complex64, reflect.Complex128:
				t.Errorf("%s: no value has the type %v", path, ty)
			}
			return
		}
		switch ty.Kind() {
		case reflect.Struct:
			for i := range ty.NumField() {
				f := ty.Field(i)
				if keyName(f) == "" {
					t.Errorf("%s.%s has no yaml tag", path, f.Name)
				}
				visit(f.Type, path+"."+f.Name)
			}
		case reflect.Map:
			if ty.Key().Kind() != reflect.String {
				t.Errorf("%s: keys of type %v", path, ty.Key())
			}
			visit(ty.Elem(), path)
		default:
			visit(ty.Elem(), path)
		}
	}
	visit(reflect.TypeFor[Config](), "Config")
	visit(reflect.TypeFor[cache.Policy](), "Policy")
}
