// Package geo says where addresses and regions are, and how far apart.
package geo

import (
	"math"
	"time"
)

// Location is a point on the earth: latitude and longitude in degrees, north and east positive.
type Location [2]float64

// Valid reports whether the latitude is within ±90 and the longitude within ±180 degrees.
func (l Location) Valid() bool {
	return math.Abs(l[0]) <= 90 && math.Abs(l[1]) <= 180 // false for NaN
}

// earthRadiusKM is the mean radius of the earth (IUGG R1).
const earthRadiusKM = 6371.0088

// DistanceKM is the great-circle distance in kilometres, by the haversine formula on a sphere: within 0.6 % of the ellipsoid's.
func (l Location) DistanceKM(to Location) float64 {
	lat1, lat2 := radians(l[0]), radians(to[0])
	sinLat, sinLon := math.Sin((lat2-lat1)/2), math.Sin(radians(to[1]-l[1])/2)
	h := sinLat*sinLat + math.Cos(lat1)*math.Cos(lat2)*sinLon*sinLon
	return 2 * earthRadiusKM * math.Asin(math.Sqrt(min(1, h)))
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }

const (
	// fibreKMPerSecond is the speed of light in optical fibre: that in vacuum over the refractive index of silica, about 1.47.
	fibreKMPerSecond = 299792.458 / 1.47
	// detour is how much longer than the great circle a cable's way is taken to be.
	detour = 1.5
)

// RTTFloor estimates the round-trip time between two points until one has been measured: light in fibre, there and back,
// on a way half as long again as the great circle. It is no strict lower bound, since some cables run straighter,
// but it orders origins by distance in the unit that measurements have.
func RTTFloor(a, b Location) time.Duration {
	seconds := 2 * detour * a.DistanceKM(b) / fibreKMPerSecond
	return time.Duration(seconds * float64(time.Second))
}
