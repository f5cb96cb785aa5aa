package front

import "nearcast/proxy/h3/rescue"

// Rescued says whether another edge sends on what it gets of this edge's QUIC connections, so that they outlive a move of the route.
func (f *Front) Rescued() bool {
	for _, l := range f.quic {
		hub := l.srv.Rescue()
		if hub == nil || !hub.Reachable() {
			return false
		}
	}
	return len(f.quic) > 0
}

// SetState tells the other edges what this one is about: whether its routes are announced. That it has gone they learn from the end of Run.
func (f *Front) SetState(s rescue.State) {
	for _, l := range f.quic {
		if hub := l.srv.Rescue(); hub != nil {
			hub.SetState(s)
		}
	}
}

// RescueStatus is what is known of the other edges at each QUIC port.
func (f *Front) RescueStatus() (all []rescue.Status) {
	for _, l := range f.quic {
		if hub := l.srv.Rescue(); hub != nil {
			all = append(all, hub.Status())
		}
	}
	return all
}
