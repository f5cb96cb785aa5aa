package load

import (
	"math"
	"math/rand/v2"
)

// zipf draws keys 0 to n-1 with probabilities in proportion to 1/(k+1)^s, in constant time by the alias method (Walker, Vose). Unlike
// math/rand's, it takes exponents of 1 and less, which is what caches see.
type zipf struct {
	keep  []uint32 // the chance, in 2^-32, that slot i gives i and not its alias
	alias []uint32
}

func newZipf(n int, s float64) *zipf {
	z := &zipf{keep: make([]uint32, n), alias: make([]uint32, n)}
	weight := make([]float64, n)
	sum := 0.0
	for k := range weight {
		weight[k] = math.Pow(float64(k+1), -s)
		sum += weight[k]
	}
	// Every slot must hold 1. Slots with less are filled up from those with more.
	var less, more []uint32
	for k := range weight {
		weight[k] *= float64(n) / sum
		if weight[k] < 1 {
			less = append(less, uint32(k))
		} else {
			more = append(more, uint32(k))
		}
	}
	for len(less) > 0 && len(more) > 0 {
		small, large := less[len(less)-1], more[len(more)-1]
		less = less[:len(less)-1]
		z.keep[small], z.alias[small] = uint32(weight[small]*math.MaxUint32), large
		if weight[large] -= 1 - weight[small]; weight[large] < 1 {
			more = more[:len(more)-1]
			less = append(less, large)
		}
	}
	for _, k := range append(less, more...) { // what is left is 1, but for rounding
		z.keep[k], z.alias[k] = math.MaxUint32, k
	}
	return z
}

// next draws a key.
func (z *zipf) next(r *rand.PCG) uint32 {
	x := r.Uint64()
	slot := uint32(x >> 32 * uint64(len(z.keep)) >> 32)
	if uint32(x) <= z.keep[slot] {
		return slot
	}
	return z.alias[slot]
}
