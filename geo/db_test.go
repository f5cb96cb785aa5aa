package geo

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// writeDB makes a database of one record a prefix.
func writeDB(t *testing.T, kind string, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, rec := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, rec); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "place.mmdb")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func city(name, country string, loc mmdbtype.Map) mmdbtype.Map {
	return mmdbtype.Map{
		"city":     mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}},
		"country":  mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"location": loc,
	}
}

func at(lat, lon float64) mmdbtype.Map {
	return mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon), "accuracy_radius": mmdbtype.Uint16(20)}
}

func TestPlace(t *testing.T) {
	db, err := Open(writeDB(t, "GeoLite2-City", map[string]mmdbtype.Map{
		"192.0.2.0/24":       city("Tokyo", "JP", at(35.68, 139.69)),
		"2001:db8:1::/48":    city("Frankfurt am Main", "DE", at(50.11, 8.68)),
		"198.51.100.0/25":    {"country": mmdbtype.Map{"iso_code": mmdbtype.String("US")}},
		"198.51.100.128/25":  {"country": mmdbtype.String("not a map")},
		"203.0.113.0/25":     city("Nowhere", "XX", at(500, 0)),
		"203.0.113.128/25":   city("Null Island", "", at(0, 0)),
		"2001:db8:ffff::/48": {},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tests := []struct {
		name, addr string
		want       Place
		ok         bool
	}{
		{"IPv4", "192.0.2.7", Place{"JP", "Tokyo", Location{35.68, 139.69}, true, 20}, true},
		{"IPv4 as a dual-stack socket reports it", "::ffff:192.0.2.7", Place{"JP", "Tokyo", Location{35.68, 139.69}, true, 20}, true},
		{"IPv6", "2001:db8:1::5", Place{"DE", "Frankfurt am Main", Location{50.11, 8.68}, true, 20}, true},
		{"IPv6 with a zone", "2001:db8:1::5%eth0", Place{"DE", "Frankfurt am Main", Location{50.11, 8.68}, true, 20}, true},
		{"a record without a position", "198.51.100.1", Place{Country: "US"}, true},
		{"a position that is none", "203.0.113.1", Place{"XX", "Nowhere", Location{}, false, 20}, true},
		{"0,0 is a position", "203.0.113.200", Place{"", "Null Island", Location{}, true, 20}, true},
		{"an address in no record", "10.0.0.1", Place{}, false},
		{"an empty record", "2001:db8:ffff::1", Place{}, false},
		{"a damaged record", "198.51.100.200", Place{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := db.Place(netip.MustParseAddr(tt.addr))
			if ok != tt.ok || got != tt.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	if _, ok := db.Place(netip.Addr{}); ok {
		t.Error("the zero address has a place")
	}
}

func TestNoDatabaseIsNoPlace(t *testing.T) {
	var db *DB
	if p, ok := db.Place(netip.MustParseAddr("192.0.2.1")); ok || p != (Place{}) {
		t.Errorf("a nil database knows %+v", p)
	}
	if err := db.Close(); err != nil {
		t.Errorf("closing a nil database: %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.mmdb")
	if err := os.WriteFile(text, []byte("<html>404 Not Found</html>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.mmdb")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asn := writeDB(t, "GeoLite2-ASN", map[string]mmdbtype.Map{"192.0.2.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)}})
	whole, err := os.ReadFile(writeDB(t, "GeoLite2-City", map[string]mmdbtype.Map{"192.0.2.0/24": city("Tokyo", "JP", at(1, 2))}))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.mmdb")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, file, want string }{
		{"missing", filepath.Join(dir, "none.mmdb"), "does not exist"},
		{"a download that was an error page", text, "is not a usable MaxMind DB file"},
		{"empty", empty, "is not a usable MaxMind DB file"},
		{"half a download", cut, "is not a usable MaxMind DB file"},
		{"a directory", dir, "is not a usable MaxMind DB file"},
		{"a database of AS numbers", asn, `has no city records: it is a "GeoLite2-ASN" database`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db, err := Open(tt.file)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if s := err.Error(); !strings.Contains(s, tt.want) || !strings.Contains(s, tt.file) || strings.Contains(s, "\n") {
				t.Errorf("the sentence is %q, want the file's name and %q", s, tt.want)
			}
		})
	}
}

func TestDatabaseKinds(t *testing.T) {
	for kind, want := range map[string]bool{
		"GeoLite2-City": true, "GeoIP2-City-Europe": true, "GeoIP2-Enterprise": true, "DBIP-City-Lite": true,
		"GeoLite2-Country": false, "GeoIP2-ISP": false, "Electricity": false, "": false,
	} {
		if got := hasCityRecords(kind); got != want {
			t.Errorf("%q has city records: %v, want %v", kind, got, want)
		}
	}
}
