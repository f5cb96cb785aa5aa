package bgp

import (
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testAdjIn is a single neighbor's, established, with both families.
func testAdjIn(m ViewMode) *adjIn {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	withView(c, m)
	a := newViewer(c, metrics.NewSet()).inputs[0]
	a.begin([2]inFamily{{agreed: true, addPath: m == ViewAddPath}, {agreed: true, addPath: m == ViewAddPath}})
	a.establish(epoch)
	return a
}
