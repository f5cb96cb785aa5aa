package cache

import "slices"

// maxKin bounds the keys of one URL that rules tell apart; the oldest makes room.
const maxKin = 1024

// kinOverhead is what such a key takes in the budget besides its strings.
const kinOverhead = 64

// kinIndex finds, by the hash of a URL, the keys of that URL that rules tell apart: a purge concerns them all (RFC 9111 §4.4). It is a part of
// a shard, guarded by its lock. Keys without such parts are not in it.
type kinIndex map[uint64][]uint64

// addKin enters a resource that is new in the index, after it has made room.
func (c *Cache) addKin(s *shard, res *resource) {
	if !res.key.selected() {
		return
	}
	url := res.key.url().hash(c.seed)
	if all := s.kin[url]; len(all) >= maxKin {
		c.counters.evictions.Inc()
		if c.dropAll(s, all[0], res.key.url()) == 0 {
			s.kin[url] = all[1:] // another URL with the same hash has gone, and taken its entry along
		}
	}
	if s.kin == nil {
		s.kin = make(kinIndex)
	}
	s.kin[url] = append(s.kin[url], res.hash)
}

// removeKin takes a resource out that has gone.
func (c *Cache) removeKin(s *shard, res *resource) {
	if !res.key.selected() {
		return
	}
	url := res.key.url().hash(c.seed)
	all := s.kin[url]
	if i := slices.Index(all, res.hash); i >= 0 {
		all = slices.Delete(all, i, i+1)
	}
	if len(all) == 0 {
		delete(s.kin, url)
	} else {
		s.kin[url] = all
	}
}

// purgeKin removes what is stored of the URL under keys that rules tell apart, and keeps fills of such keys from taking more requests. The
// shard is locked.
func (c *Cache) purgeKin(s *shard, url Key, hash uint64) (dropped int) {
	if !c.kinned.Load() {
		return 0
	}
	for _, h := range slices.Clone(s.kin[hash]) {
		dropped += c.dropAll(s, h, url)
	}
	for _, first := range s.fills {
		for f := first; f != nil; f = f.next {
			if f.key.url() == url {
				c.unlist(s, f)
			}
		}
	}
	return dropped
}

// dropAll drops every variant of the URL's keys with that hash, and returns their number.
func (c *Cache) dropAll(s *shard, hash uint64, url Key) (dropped int) {
	var entries []*entry
	for res := s.resources[hash]; res != nil; res = res.next {
		if res.key.url() == url {
			entries = append(entries, res.variants...)
		}
	}
	for _, e := range entries {
		if c.drop(s, e) {
			dropped++
		}
	}
	return dropped
}
