package front

// Leave tells the clients of the connections that there are to connect anew: GOAWAY on HTTP/2 and HTTP/3; on HTTP/1.1 idle connections are
// closed and the others get "Connection: close". The listeners serve later connections as usual. It does not block.
// Call it when the routes have been withdrawn but the edge goes on: its own packets still reach those clients, while theirs go
// to another edge that knows nothing of the connection, which an HTTP/3 client only learns by a long silence.
func (f *Front) Leave() { f.leave(true) }

// LeaveBefore is Leave for those whose connections would break when the route moves: all, but those of QUIC where other edges send their packets
// on. Those are told to leave once the route has moved: before it they would come back here.
func (f *Front) LeaveBefore() { f.leave(!f.Rescued()) }

func (f *Front) leave(quic bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel == nil || f.stopped {
		return
	}
	for _, l := range f.tcp {
		l.h1.Leave()
		l.h2.Leave()
	}
	if !quic {
		return
	}
	for _, l := range f.quic {
		l.srv.Leave()
	}
}

// Pause leaves attempts to connect unanswered until Resume. Their clients try again, after a second in TCP (RFC 6298 §2) and
// sooner in QUIC, and find the edge that the route leads to by then: a connection begun in the moment in which a route moves is
// otherwise reset by the edge that gets its second packet. Connections that there are go on. Where other edges send on what comes to them of a
// handshake in QUIC, there is nothing to wait for.
func (f *Front) Pause() {
	for _, l := range f.tcp {
		if err := pauseTCP(l.ln); err != nil {
			f.log.Debug("new connections can't be paused on this system", "listener", l.info.Name, "error", err)
		}
	}
	if f.Rescued() {
		return
	}
	for _, l := range f.quic {
		l.srv.Pause()
	}
}

// Resume ends Pause.
func (f *Front) Resume() {
	for _, l := range f.tcp {
		if err := resumeTCP(l.ln); err != nil {
			f.log.Debug("new connections can't be paused on this system", "listener", l.info.Name, "error", err)
		}
	}
	for _, l := range f.quic {
		l.srv.Resume()
	}
}
