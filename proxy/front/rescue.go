package front

// Rescued says whether another edge can send on what comes to it of this edge's QUIC connections, so that they outlive a move of the route.
func (f *Front) Rescued() bool {
	return f.fleet.Rescue != nil && len(f.fleet.Rescue.Peers) > 0
}
