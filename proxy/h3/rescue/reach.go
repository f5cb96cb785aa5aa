package rescue

// Reachable says whether some other edge is up, which then sends on to us what it gets of our connections.
func (h *Hub) Reachable() bool {
	for _, p := range h.peers {
		if p.view.Load().reach == up {
			return true
		}
	}
	return false
}
