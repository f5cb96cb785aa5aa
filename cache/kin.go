package cache

import "slices"

// maxKin bounds the keys of one URL that rules tell apart; the oldest makes room.
const maxKin = 1024

// kinOverhead is what such a key takes in the budget besides its strings.
const kinOverhead = 64

// minKin is the number of keys below which a shard does not look for those that have gone.
const minKin = 64

// kinIndex finds, by the hash of a URL, the keys of that URL that rules tell apart: a purge concerns them all (RFC 9111 §4.4). It is a part of
// a shard, guarded by its lock. Keys without such parts are not in it. What is evicted stays in it until there is twice as much as was
// left the last time that somebody looked: an eviction need not unpack the key.
type kinIndex struct {
	keys  map[uint64][]uint64 // by the URL's hash, the keys' hashes, the oldest first
	count int
	most  int // the count at which those that have gone are looked for
}

// addKin enters the key of something that has just been given its slot.
func (c *Cache) addKin(s *shard, key Key, hash uint64) {
	if !key.selected {
		return
	}
	k, url := &s.kin, key.url()
	h := url.hash(c.seed)
	if slices.Contains(k.keys[h], hash) {
		return
	}
	if k.count >= max(k.most, minKin) {
		k.prune(s)
	}
	if all := k.keys[h]; len(all) >= maxKin {
		c.counters.evictions[noQueue].Add(c.dropAll(s, all[0], url))
		k.keys[h] = all[1:]
		k.count--
	}
	if k.keys == nil {
		k.keys = make(map[uint64][]uint64)
	}
	k.keys[h] = append(k.keys[h], hash)
	k.count++
}

// prune takes out the keys under which nothing is stored any more.
func (k *kinIndex) prune(s *shard) {
	for h := range k.keys {
		k.pruneURL(s, h)
	}
	k.most = 2 * k.count
}

func (k *kinIndex) pruneURL(s *shard, url uint64) {
	all := k.keys[url]
	left := slices.DeleteFunc(slices.Clone(all), func(hash uint64) bool { return !s.table.has(hash) })
	if k.count -= len(all) - len(left); len(left) == 0 {
		delete(k.keys, url)
	} else {
		k.keys[url] = left
	}
}

// purgeKin removes what is stored of the URL under keys that rules tell apart, and keeps fills of such keys from taking more requests. The
// shard is locked.
func (c *Cache) purgeKin(s *shard, url Key, hash uint64) (dropped int) {
	if !c.kinned.Load() {
		return 0
	}
	for _, h := range s.kin.keys[hash] {
		dropped += c.dropAll(s, h, url)
	}
	s.kin.pruneURL(s, hash)
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
	for _, e := range c.variantsWhere(s, hash, func(k *Key) bool { return k.url() == url }) {
		if c.drop(s, e) {
			dropped++
		}
	}
	return dropped
}
