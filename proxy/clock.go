package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock writes times: Date fields (RFC 9110 §6.6.1), and those of the log. What is the same for a second is made once for each.
type clock struct{ now atomic.Pointer[second] }

type second struct {
	unix       int64
	date       string
	stamp, off string // of the log: up to the second, and after its fraction
}

func (c *clock) second(now time.Time) *second {
	unix := now.Unix()
	s := c.now.Load()
	if s == nil || s.unix != unix {
		s = &second{unix, now.UTC().Format(http.TimeFormat), now.Format("2006-01-02T15:04:05"), now.Format("Z07:00")}
		c.now.Store(s)
	}
	return s
}

func (c *clock) date(now time.Time) string { return c.second(now).date }

// appendTime appends now as time.RFC3339Nano does.
func (c *clock) appendTime(b []byte, now time.Time) []byte {
	s := c.second(now)
	b = append(b, s.stamp...)
	if ns := now.Nanosecond(); ns != 0 {
		var digits [10]byte
		for i := len(digits) - 1; i > 0; i-- {
			digits[i] = '0' + byte(ns%10)
			ns /= 10
		}
		digits[0] = '.'
		n := len(digits)
		for digits[n-1] == '0' {
			n--
		}
		b = append(b, digits[:n]...)
	}
	return append(b, s.off...)
}
