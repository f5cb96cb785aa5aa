package geo

import (
	"strings"
	"testing"
)

func TestEdgeAddresses(t *testing.T) {
	for _, tt := range []struct {
		text, want string // the address and port, or part of what is wrong
		ok         bool
	}{
		{"198.51.100.2", "198.51.100.2:9181", true},
		{"198.51.100.2:80", "198.51.100.2:80", true},
		{"2001:db8::2", "[2001:db8::2]:9181", true},
		{"[2001:db8::2]", "[2001:db8::2]:9181", true},
		{"[2001:db8::2]:80", "[2001:db8::2]:80", true},
		{"127.0.0.2", "127.0.0.2:9181", true},
		{"", "is not the address of an edge", false},
		{"fra.example", "is not the address of an edge", false},
		{"[2001:db8::2", "is not the address of an edge", false},
		{"2001:db8::2]", "is not the address of an edge", false},
		{"198.51.100.2:", "is not the address of an edge", false},
		{"198.51.100.2:70000", "is not the address of an edge", false},
		{"198.51.100.0/24", "is not the address of an edge", false},
		{"198.51.100.2:0", "must have a port from 1 to 65535", false},
		{"::ffff:198.51.100.2", "write 198.51.100.2", false},
		{"0.0.0.0", "0.0.0.0 is no edge's address", false},
		{"ff02::1", "ff02::1 is no edge's address", false},
		{"fe80::1%eth0", "is not reached from other regions", false},
		{"169.254.1.1", "is not reached from other regions", false},
	} {
		var e EdgeAddress
		if err := e.UnmarshalText([]byte(tt.text)); err != nil {
			if tt.ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		fault := e.fault()
		if tt.ok && (fault != "" || e.String() != tt.want) || !tt.ok && !strings.Contains(fault, tt.want) {
			t.Errorf("%q: %s, %q", tt.text, e, fault)
		}
	}
	if (EdgeAddress{}).fault() == "" {
		t.Error("no address is one")
	}
}

func TestRegionValidatesItsEdges(t *testing.T) {
	r := Region{Edges: make([]EdgeAddress, 2)}
	_ = r.Edges[0].UnmarshalText([]byte("198.51.100.2"))
	var got []string
	r.Validate(func(key, fault string) { got = append(got, key+": "+fault) })
	if len(got) != 1 || got[0] != "edges[1]: is no address" {
		t.Errorf("%q", got)
	}
}
