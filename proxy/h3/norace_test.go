//go:build !race

package h3

const raceDetector = false
