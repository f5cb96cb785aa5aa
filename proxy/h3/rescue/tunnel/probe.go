package tunnel

import (
	"net/netip"
	"time"
)

// maxProbes is how many sources of ours are kept; the one that was not probed for longest goes.
const maxProbes = 2 * MaxHeard

// reach is a source of ours, and when the latest probe from it that is known to have arrived was sent.
type reach struct {
	source netip.Addr
	at     time.Duration
}

// probe notes that source is being probed.
func (o *own) probe(source netip.Addr) {
	source = source.Unmap()
	r := reach{source, never}
	for i, known := range o.probes {
		if known.source == source {
			r = known
			o.probes = append(o.probes[:i], o.probes[i+1:]...)
			break
		}
	}
	if len(o.probes) == maxProbes {
		o.probes = append(o.probes[:0], o.probes[1:]...)
	}
	o.probes = append(o.probes, r)
}

// reach notes that a probe has arrived.
func (o *own) reach(source netip.Addr, at time.Duration) {
	for i := range o.probes {
		if o.probes[i].source == source {
			o.probes[i].at = max(o.probes[i].at, at)
		}
	}
}

func (o *own) reached(source netip.Addr) time.Duration {
	for _, r := range o.probes {
		if r.source == source.Unmap() {
			return r.at
		}
	}
	return never
}

// find returns a hello that we sent, when it is not too long ago.
func (o *own) find(number uint64) (sentHello, bool) {
	s := o.sent[number%uint64(len(o.sent))]
	return s, number != 0 && s.number == number
}
