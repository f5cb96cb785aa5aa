package geo

// Config is the part of the configuration that says where addresses are.
type Config struct {
	// DatabaseFile is a MaxMind DB file with city records. Default: none, addresses have no place.
	DatabaseFile string `yaml:"database_file"`
}

// Region is a named place where edges and origins stand.
type Region struct {
	// Location is [latitude, longitude] in degrees.
	Location Location `yaml:"location"`
}
