package cache

import "sync/atomic"

// budget counts the bytes that the store holds. It never exceeds its limit: what does not fit is refused before it is allocated.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take takes n bytes if they are free.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) release(n int64) { b.used.Add(-n) }
