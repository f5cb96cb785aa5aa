//go:build !unix

package cache

// mapMemory returns n zero bytes.
func mapMemory(n int) []byte { return make([]byte, n) }

// unmapMemory leaves them to the collector.
func unmapMemory([]byte) {}
