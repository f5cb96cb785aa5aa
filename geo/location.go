package geo

// Location is a point on the earth: latitude and longitude in degrees, north and east positive.
type Location [2]float64
