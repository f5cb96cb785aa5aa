package cache

// purgeSlot has the numbers of the last purges of URLs that share it, the newest first.
type purgeSlot struct {
	urls, numbers [2]uint64 // of hashes of URLs
	others        uint64    // the newest of those that are no longer told apart
}

// purgeSlotBytes is a purgeSlot's size.
const purgeSlotBytes = 40

// note notes a purge.
func (p *purgeSlot) note(url, number uint64) {
	if p.urls[0] != url {
		if p.urls[1] != url {
			p.others = p.numbers[1]
		}
		p.urls[1], p.numbers[1] = p.urls[0], p.numbers[0]
		p.urls[0] = url
	}
	p.numbers[0] = number
}

// last is the number of the URL's last purge, or a later one.
func (p *purgeSlot) last(url uint64) uint64 {
	for i, u := range p.urls {
		if u == url {
			return p.numbers[i]
		}
	}
	return p.others
}

// notePurge notes that what any fill of the URL brings, listed or not, is from before a purge.
func (s *shard) notePurge(url uint64) {
	s.purges++
	s.purged[url>>32%purgeSlots].note(url, s.purges)
}

// purgedSince reports whether there was a purge since the fill began. Purges of three other URLs that share its slot may count, which costs
// storing once: where unsafe requests are many and fetches slow, a single one would be seen often.
func (s *shard) purgedSince(f *Fill) bool { return s.lastPurge(f.url) > f.born }

// lastPurge is the number of the URL's last purge, or a later one.
func (s *shard) lastPurge(url uint64) uint64 { return s.purged[url>>32%purgeSlots].last(url) }
