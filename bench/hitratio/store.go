package hitratio

import (
	"strconv"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// store is the cache itself, with all that it takes for an object.
type store struct {
	c      *cache.Cache
	policy *cache.Policy
	now    time.Time
	body   []byte
}

func newStore(capacity int64) *store {
	capacity = max(capacity, 1<<20)
	return &store{
		c:      cache.New(cache.Config{Memory: cache.Size(capacity), MaxObject: cache.Size(capacity / 2)}, nil),
		policy: &cache.Policy{Enabled: true}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), body: make([]byte, 64<<10),
	}
}

var storedFields = message.Fields{{Name: "cache-control", Value: "max-age=600"}, {Name: "date", Value: "Thu, 01 Jan 2026 00:00:00 GMT"}}

func (s *store) Get(x Request) bool {
	r := &message.Request{Method: "GET", Scheme: "https", Authority: "a", Target: message.Target{Path: "/" + strconv.FormatUint(x.Key, 36)}}
	key := cache.KeyOf("s", r)
	if s.c.Lookup(s.now, key, r, s.policy).State == cache.Hit {
		return true
	}
	f, leader := s.c.Begin(s.now, key, r)
	if !leader {
		return false
	}
	w, _ := f.Respond(r, cache.Response{Status: 200, Fields: storedFields, Length: x.Size, Requested: s.now, Received: s.now}, s.policy)
	if w == nil {
		return false
	}
	for left := x.Size; left > 0; {
		n := min(left, int64(len(s.body)))
		if _, err := w.Write(s.body[:n]); err != nil {
			w.Abort(err)
			return false
		}
		left -= n
	}
	w.Commit(nil)
	return false
}
