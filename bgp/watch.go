package bgp

import "time"

// watch begins the view of a session whose OPENs have been exchanged; theirs is the router's as it came.
func (s *session) watch(theirs open, agreed []family) {
	var families [numFamilies]inFamily
	scan := &scanner{watched: s.n.speaker.viewer.watched, fourOctet: theirs.fourOct}
	for _, f := range agreed {
		i, _ := familyIndex(f[1], f[3])
		families[i] = inFamily{agreed: true, addPath: s.n.config.View == ViewAddPath && theirs.sendsPaths(f)}
		scan.agreed[i], scan.addPath[i] = true, families[i].addPath
	}
	s.n.adjIn.begin(families)
	if s.n.adjIn.watches() {
		s.scanner = scan
	}
}

// warnBest tells that the router does not send what it is asked for.
func (s *session) warnBest() {
	if s.scanner == nil {
		return
	}
	for f, name := range familyNames {
		if s.n.config.View == ViewAddPath && s.scanner.agreed[f] && !s.scanner.addPath[f] {
			s.n.log.Warn("neighbor "+s.n.name+": it does not send all its paths (ADD-PATH), so this edge's announcement hides those of other regions; "+
				"enable it for this edge there, or give the regions beacons", "family", name)
		}
	}
}

var familyNames = [numFamilies]string{"IPv4", "IPv6"}

// look lets the view see what the router sends. Nil is an UPDATE that was too long to be read.
//
// A malformed UPDATE never ends the session, as RFC 7606 would at times have it: nothing that the router announces is used to forward by. But
// what the view knows is then uncertain, so the router is asked to tell it all again, where it can (RFC 2918).
func (s *session) look(m message) {
	now := time.Now()
	in := s.n.adjIn
	switch {
	case m == nil:
		in.skipped()
	case m.kind() == typeUpdate:
		err := s.scanner.scan(m.body())
		in.heard(s.scanner, err, now)
		for f, e := range endOfRIB {
			if string(m.body()) == e {
				in.endOfRIB(min(f, inet6))
			}
		}
	}
	if s.confirmed && s.theirs.refresh && in.askAnew(now) {
		for _, f := range s.theirs.families {
			_ = s.send(makeMessage(typeRouteRefresh, []byte{f[0], f[1], 0, f[3]})) // if it fails, so does the session
		}
	}
}
