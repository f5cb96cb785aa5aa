package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// evilUpdates have crashed or reset BGP speakers, or are shaped as those that have.
func evilUpdates() []message {
	x := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			panic(err)
		}
		return b
	}
	const (
		origin = "40010100"
		path4  = "40020602010000fbf5"
		path2  = "4002040201fbf5"
		hop    = "4003040a090001"
		as4    = "c011060201" + "0000fbf5"
	)
	nlri := x("18cb0071")
	var ms []message
	for _, attrs := range []string{
		origin + path4 + hop,              // nothing wrong with it
		origin + path4 + hop + "40630100", // unknown well-known attribute
		"40630100" + origin + path4 + hop, // the same, first
		"00010100" + path4 + hop,          // ORIGIN not transitive
		"4001020000" + path4 + hop,        // ORIGIN too long
		origin + as4 + path2 + hop,        // AS4_PATH before AS_PATH
		origin + path2 + hop + "c0110e0203" + "0000fbf500000001" + "00000002", // AS4_PATH longer than AS_PATH
		origin + path2 + hop + "c012080000000101010101",                       // AS4_AGGREGATOR
		origin + path4 + "400300",                                             // NEXT_HOP of every wrong length
		origin + path4 + "4003050102030405",                                   //
		origin + path4 + "40031020010db8000000000000000000000001",             //
		origin + "400200" + hop,                                               // empty AS_PATH
		"",                                                                    // NLRI without attributes
		origin + path4 + hop + "c008080000",                                   // cut short
		origin + path4 + hop + "c00803000000",                                 // communities of three bytes
		origin + path4 + hop + "800e050002011000",                             // MP_REACH cut short
		origin + path4 + "800e09001946040a09000100",                           // MP_REACH of EVPN
		"800f03001946",                                                        // MP_UNREACH of EVPN
		origin + origin + path4 + path4 + hop + hop,                           // everything twice
		origin + path4 + hop + "c01706000100090101",                           // tunnel encapsulation
		origin + path4 + hop + "c028040500c800",                               // prefix SID
		origin + path4 + hop + "801a03010001",                                 // AIGP
		origin + path4 + hop + "801d0404000009",                               // link state
		origin + path4 + hop + "c016020101",                                   // PMSI
		origin + path4 + hop + "c0100700000000000000",                         // extended communities
		origin + path4 + hop + "c020050000000000",                             // large communities
		origin + "40020602ff0000fbf5" + hop,                                   // AS_PATH segment longer than itself
		origin + hop + as4 + path2,                                            // AS4_PATH and AS_PATH last: has killed processes
		origin + hop + as4 + path4,                                            //
		origin + path4 + "000300",                                             // NEXT_HOP with wrong flags
		"00030101" + origin + path4,                                           //
		"00010100" + path4 + "800e0d000102040a09000100" + "18cb0071",          // treat as withdraw and multicast
		"40010109" + path4 + hop + "800f0700010218cb0071",                     //
		origin + path4 + hop + "c00703010101",                                 // AGGREGATOR
	} {
		ms = append(ms, rawUpdate(nil, x(attrs), nlri))
	}
	ms = append(ms,
		rawUpdate(x("210102030405"), nil, nil),                   // withdrawal of a /33
		rawUpdate(nil, x(origin+path4+hop), x("c8010203")),       // NLRI of a /200
		makeMessage(typeUpdate, x("ffff0000")),                   // lengths beyond the end
		makeMessage(typeUpdate, x("000000c8"+origin+"18cb0071")), //
		makeMessage(typeUpdate, x("00")),                         // not even its own lengths
		makeMessage(typeUpdate, nil),                             //
		rawUpdate(nil, x("800f03000202"), nil),                   // End-of-RIB of a family that is not ours
		rawUpdate(nil, x(origin+path4+hop), make([]byte, 5000)),  // longer than BGP allows
		rawUpdate(nil, make([]byte, 65000), nil),                 // as long as the header can say
	)
	return ms
}

// rawHeader is a header that says what it likes.
func rawHeader(size uint16, kind byte) []byte {
	h := makeMessage(kind, nil)
	binary.BigEndian.PutUint16(h[markerSize:], size)
	return h
}
