//go:build !race

package cid

const raceDetector = false
