//go:build race

package h3

// raceDetector is true when sync.Pool drops what it is given at random, so that nothing about it costs no allocation.
const raceDetector = true
