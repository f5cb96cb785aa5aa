//go:build !unix

package readable

const supported = false

func peek(uintptr) bool { return true }
