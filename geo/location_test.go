package geo

import (
	"math"
	"testing"
	"time"
)

var (
	fra = Location{50.11, 8.68}
	nyc = Location{40.71, -74.01}
	tyo = Location{35.68, 139.69}
)

func TestDistance(t *testing.T) {
	tests := []struct {
		name string
		a, b Location
		want float64 // km
	}{
		{"a place is at itself", fra, fra, 0},
		{"Frankfurt to New York", fra, nyc, 6204},
		{"Frankfurt to Tokyo", fra, tyo, 9330},
		{"New York to Tokyo goes over the pole, not around a parallel", nyc, tyo, 10850},
		{"across the date line is near", Location{0, 179.5}, Location{0, -179.5}, 111},
		{"antipodes are half the circumference, and no NaN", Location{0, 0}, Location{0, 180}, 20015},
		{"nearly antipodes, where rounding goes past one", Location{47.0000001, 11}, Location{-47, -169}, 20015},
		{"pole to pole", Location{90, 0}, Location{-90, 77}, 20015},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, got := range []float64{tt.a.DistanceKM(tt.b), tt.b.DistanceKM(tt.a)} {
				if math.Abs(got-tt.want) > 0.01*tt.want+1 || math.IsNaN(got) {
					t.Errorf("distance %.0f km, want about %.0f", got, tt.want)
				}
			}
		})
	}
}

func TestRTTFloorIsWhatLongCablesHave(t *testing.T) {
	tests := []struct {
		name     string
		a, b     Location
		min, max time.Duration
	}{
		{"the same place", fra, fra, 0, 0},
		{"across the Atlantic", nyc, fra, 70 * time.Millisecond, 100 * time.Millisecond},
		{"across the Pacific", nyc, tyo, 140 * time.Millisecond, 190 * time.Millisecond},
		{"no two places are farther than this", Location{0, 0}, Location{0, 180}, 280 * time.Millisecond, 310 * time.Millisecond},
	}
	for _, tt := range tests {
		if got := RTTFloor(tt.a, tt.b); got < tt.min || got > tt.max {
			t.Errorf("%s: %v, want between %v and %v", tt.name, got, tt.min, tt.max)
		}
	}
}

func TestLocationValid(t *testing.T) {
	tests := []struct {
		l    Location
		want bool
	}{
		{fra, true}, {Location{}, true}, {Location{-90, 180}, true},
		{Location{8.68, 500}, false}, {Location{139.69, 35.68}, false}, // longitude and latitude swapped
		{Location{math.NaN(), 0}, false}, {Location{0, math.Inf(1)}, false},
	}
	for _, tt := range tests {
		if got := tt.l.Valid(); got != tt.want {
			t.Errorf("%v valid: %v, want %v", tt.l, got, tt.want)
		}
	}
}

func TestRegionValidate(t *testing.T) {
	var keys []string
	report := func(key, fault string) { keys = append(keys, key) }
	(&Region{Location: tyo}).Validate(report)
	(&Region{Location: Location{tyo[1], tyo[0]}}).Validate(report)
	if len(keys) != 1 || keys[0] != "location" {
		t.Errorf("reported %q, want only the swapped location", keys)
	}
}
