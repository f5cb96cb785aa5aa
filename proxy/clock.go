package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock writes Date fields (RFC 9110 §6.6.1): one string for each second.
type clock struct{ now atomic.Pointer[second] }

type second struct {
	unix int64
	date string
}

func (c *clock) date(now time.Time) string {
	unix := now.Unix()
	s := c.now.Load()
	if s == nil || s.unix != unix {
		s = &second{unix, now.UTC().Format(http.TimeFormat)}
		c.now.Store(s)
	}
	return s.date
}
