//go:build race

package flood

// raceDetector is true when everything takes twenty times as long.
const raceDetector = true
