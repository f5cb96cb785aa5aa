package geo

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
)

// Place is what a database knows of an address.
type Place struct {
	Country string // ISO 3166-1 alpha-2, "" when it is not known
	City    string // English name, "" when it is not known
	// Location is the approximate position; LocationKnown is false when the record has none.
	Location      Location
	LocationKnown bool
	// AccuracyKM is the radius around Location within which the address is with 67 % confidence; 0 when it is not stated.
	AccuracyKM int
}

// DB is an open database. A nil DB knows no place. It is safe for concurrent use until Close.
type DB struct {
	reader *geoip2.Reader
}

// Open opens a MaxMind DB file with city records (GeoLite2 City, GeoIP2 City or Enterprise, or another of their shape).
// The file is mapped into memory: replace it by renaming another over it, never in place.
func Open(file string) (*DB, error) {
	r, err := geoip2.Open(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the place database %s does not exist", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the place database %s may not be read by this user", file)
	case err != nil:
		return nil, fmt.Errorf("the place database %s is not a usable MaxMind DB file: %w", file, err)
	}
	if kind := r.Metadata().DatabaseType; !hasCityRecords(kind) {
		r.Close()
		return nil, fmt.Errorf("the place database %s has no city records: it is a %q database; a City or Enterprise one is needed", file, kind)
	}
	return &DB{reader: r}, nil
}

// hasCityRecords goes by the words of the database's type, such as "GeoLite2-City" or "DBIP-City-Lite".
func hasCityRecords(kind string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(kind, func(r rune) bool { return r == '-' || r == ' ' || r == '_' }),
		func(w string) bool { return strings.EqualFold(w, "City") || strings.EqualFold(w, "Enterprise") })
}

// Place returns what is known of an address, and whether anything is. A damaged record counts as nothing known.
func (d *DB) Place(addr netip.Addr) (Place, bool) {
	if d == nil || !addr.IsValid() {
		return Place{}, false
	}
	rec, err := d.reader.City(addr.Unmap().WithZone(""))
	if err != nil || !rec.HasData() {
		return Place{}, false
	}
	p := Place{Country: rec.Country.ISOCode, City: rec.City.Names.English, AccuracyKM: int(rec.Location.AccuracyRadius)}
	if rec.Location.HasCoordinates() {
		if l := (Location{*rec.Location.Latitude, *rec.Location.Longitude}); l.Valid() {
			p.Location, p.LocationKnown = l, true
		}
	}
	return p, true
}

// Close releases the file. No Place may be running or follow.
func (d *DB) Close() error {
	if d == nil {
		return nil
	}
	return d.reader.Close()
}
