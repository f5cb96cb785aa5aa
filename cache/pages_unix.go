//go:build unix

package cache

import "syscall"

// mapMemory returns n zero bytes that the collector does not know of; nil when there are none. n is a multiple of the system's page.
func mapMemory(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// unmapMemory gives them back. Nobody may have a reference to them.
func unmapMemory(b []byte) { syscall.Munmap(b) }
