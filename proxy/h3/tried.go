package h3

import (
	"context"
	"time"

	"nearcast/proxy/h3/rescue"
)

const (
	lookInterval = 100 * time.Millisecond
	lookShare    = 50 // of the time that passes, one part at most goes into looking
)

// lookAfter tells the hub what QUIC knows of connections whose packets go directly to clients that come by other edges, while it is not known whether
// such packets arrive.
func (s *Server) lookAfter(ctx context.Context) {
	trials := s.hub.NewTrials()
	wait := time.NewTimer(lookInterval)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		trials.Look(began, s.samples(s.hub.Tried()))
		wait.Reset(max(lookInterval, lookShare*time.Since(began)))
	}
}

// samples are those of the connections with the clients that are tried.
func (s *Server) samples(tried map[rescue.Path]struct{}) map[any]rescue.Sample {
	if len(tried) == 0 {
		return nil
	}
	seen := map[any]rescue.Sample{}
	s.each(func(c *conn) {
		path := rescue.PathOf(c.qc.RemoteAddr(), c.qc.LocalAddr())
		if _, ok := tried[path]; ok {
			st := c.qc.ConnectionStats()
			seen[c] = rescue.Sample{Path: path, Sent: st.PacketsSent, Received: st.PacketsReceived, RTT: st.LatestRTT, Smoothed: st.SmoothedRTT}
		}
	})
	return seen
}
