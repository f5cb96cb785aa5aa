package proxy

import "testing"

func TestCanonicalAuthority(t *testing.T) {
	for _, c := range []struct{ scheme, authority, want, why string }{
		{"https", "shop.example", "shop.example", "as it is"},
		{"https", "shop.example:443", "shop.example", "the default port says nothing"},
		{"http", "shop.example:80", "shop.example", "nor does that of http"},
		{"https", "shop.example:80", "shop.example:80", "but the other scheme's is another origin"},
		{"https", "shop.example:8443", "shop.example:8443", "another port"},
		{"https", "shop.example:", "shop.example", "an empty port is the default one (RFC 3986 §3.2.3)"},
		{"https", "shop.example.", "shop.example.", "the root dot is kept: key and origin see the same"},
		{"https", "[2001:db8::1]:443", "[2001:db8::1]", "IPv6"},
		{"https", "[2001:db8::1]", "[2001:db8::1]", "IPv6 without a port"},
		{"https", "a_b.example", "a_b.example", "underscores are in use"},
		{"https", "Shop.EXAMPLE:443", "shop.example", "a name's case says nothing"},
		{"https", "[2001:DB8::1]", "[2001:db8::1]", "nor does that of an address"},
		{"https", "", "", "nothing"},
		{"https", ":443", "", "no host"},
		{"https", "a:80:90", "", "two ports"},
		{"https", "a:port", "", "a port that is no number"},
		{"https", "a:65536", "", "a port beyond the last"},
		{"https", "2001:db8::1", "", "IPv6 without brackets"},
		{"https", "[2001:db8::1", "", "half a bracket"},
		{"https", "[2001:db8::1]x", "", "something after the bracket"},
		{"https", "[fe80::1%25eth0]", "", "a zone means something on this machine only"},
		{"https", "[127.0.0.1]", "", "IPv4 in brackets"},
		{"https", `a";for=1.2.3.4;x="`, "", "it would break out of Forwarded"},
		{"https", "a,b", "", "it would be two hosts in X-Forwarded-Host"},
		{"https", "user@a", "", "user information"},
		{"https", "a/b", "", "a path"},
		{"https", "a\r\nx: y", "", "a field line"},
	} {
		if got, ok := canonicalAuthority(c.scheme, c.authority); got != c.want || ok != (c.want != "") {
			t.Errorf("%s %q: %q %v, want %q: %s", c.scheme, c.authority, got, ok, c.want, c.why)
		}
	}
}
