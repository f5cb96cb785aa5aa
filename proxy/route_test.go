package proxy

import (
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func TestRoute(t *testing.T) {
	svc := func(hosts, paths []string) ServiceConfig {
		var c ServiceConfig
		c.SetDefaults()
		c.Hosts = hosts
		if paths != nil {
			c.Paths = paths
		}
		return c
	}
	o := &Options{Services: map[string]ServiceConfig{
		"shop":  svc([]string{"Shop.example"}, nil),
		"api":   svc([]string{"shop.example"}, []string{"/api", "/v2/"}),
		"sub":   svc([]string{"*.shop.example"}, nil),
		"deep":  svc([]string{"*.eu.shop.example"}, nil),
		"admin": svc([]string{"admin.shop.example"}, []string{"/only"}),
		"rest":  svc([]string{"*"}, nil),
	}}
	table, err := newTable(o, newMeters(metrics.NewSet()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ authority, path, want, why string }{
		{"shop.example", "/", "shop", "an exact name"},
		{"SHOP.example:8443", "/x", "shop", "neither case nor port count"},
		{"shop.example.", "/x", "shop", "a root dot is no other host"},
		{"shop.example", "/api", "api", "the longest prefix"},
		{"shop.example", "/api/x", "api", "and what is below it"},
		{"shop.example", "/apix", "shop", "whole segments only"},
		{"shop.example", "/v2/x", "api", "a prefix that ends in a slash"},
		{"shop.example", "/v2", "api", "is the same as one without"},
		{"shop.example", "*", "shop", "OPTIONS * goes to the root's service"},
		{"a.shop.example", "/", "sub", "a wildcard"},
		{"a.b.shop.example", "/", "sub", "at any depth"},
		{"a.eu.shop.example", "/", "deep", "the longer wildcard wins"},
		{"admin.shop.example", "/only", "admin", "an exact name before a wildcard"},
		{"admin.shop.example", "/other", "", "and it does not fall through"},
		{"other.example", "/", "rest", "everything else"},
		{"[2001:db8::1]:443", "/", "rest", "an address"},
	} {
		got := ""
		authority, _ := canonicalAuthority("https", c.authority)
		if s := table.find(hostOf(authority), c.path); s != nil {
			got = s.name
		}
		if got != c.want {
			t.Errorf("%s%s went to %q, want %q: %s", c.authority, c.path, got, c.want, c.why)
		}
	}
}
