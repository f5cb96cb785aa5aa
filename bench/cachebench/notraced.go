//go:build !race

package cachebench

const raced = false
