//go:build !race

package rescue

const underRace = false
