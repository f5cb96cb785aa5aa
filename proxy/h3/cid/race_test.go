//go:build race

package cid

// raceDetector is true when sync.Pool drops what it is given at random, so that nothing about it costs no allocation.
const raceDetector = true
