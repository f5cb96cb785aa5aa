package h3

import (
	"context"
	"math"
	"slices"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

// upkeepInterval is how often a server looks at the time and at the secrets, for its keys.
const upkeepInterval = 5 * time.Second

// upkeep keeps to the epoch and the secrets of the time.
func (s *Server) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.keepTo(s.cfg.now())
			s.sendAfterRoutes()
		case <-ctx.Done():
			return
		}
	}
}

// sendAfterRoutes tells clients to connect anew whose route has led to another region for long: it has moved for good, and each packet of theirs makes
// a detour by way of that region.
func (s *Server) sendAfterRoutes() {
	if s.hub == nil || s.cfg.Fleet.Rescue.FollowAfter <= 0 {
		return
	}
	s.each(func(c *conn) {
		if s.hub.Away(rescue.PathOf(c.qc.RemoteAddr(), c.qc.LocalAddr())) >= s.cfg.Fleet.Rescue.FollowAfter {
			c.leave()
		}
	})
}

// keepTo takes the keys of that time. Where the epoch is another, each socket gets a new generation for the clients that come from now on.
//
// An older one stays for as long as the connection IDs of its epoch are read, whether it has connections or not: it answers what comes late for them
// with resets that their clients know. An epoch before its end its last clients are told to leave.
func (s *Server) keepTo(now time.Time) {
	s.codec.Refresh(now)
	epoch := keys.At(now)
	var gone []*generation
	s.opening.Lock()
	if s.sealed {
		s.opening.Unlock()
		return
	}
	for _, sock := range s.sockets {
		if err := s.renew(sock, epoch); err != nil {
			s.log.Error("the keys of HTTP/3 could not be renewed; those of the day before are used on", "listener", s.cfg.Name, "error", err)
		}
		gone = append(gone, sock.forget(epoch)...)
	}
	s.opening.Unlock()
	s.eachAged(epoch, cid.EpochsRead-1, (*conn).leave)
	s.eachAged(epoch, cid.EpochsRead, (*conn).close)
	for _, g := range gone {
		g.ln.Close()
		g.tr.Close()
	}
}

// renew makes the generation of an epoch the current one of a socket.
func (s *Server) renew(sock *socket, epoch keys.Epoch) error {
	all := *sock.generations.Load()
	if all[0].epoch == epoch {
		return nil
	}
	var g *generation
	if i := slices.IndexFunc(all, func(g *generation) bool { return g.epoch == epoch }); i >= 0 {
		g = all[i] // the clock was set back
		all = slices.Delete(slices.Clone(all), i, i+1)
	} else {
		var err error
		if g, err = newGeneration(sock, epoch, false); err != nil {
			return err
		}
		if v := s.serving; v != nil {
			v.work.Go(func() { s.accept(v, g.ln) })
		}
	}
	all = append([]*generation{g}, all...)
	sock.generations.Store(&all)
	g.wake() // which has the older one stop reading
	return nil
}

// forget takes the generations from the list that are too old for their connection IDs to be read.
func (s *socket) forget(epoch keys.Epoch) (gone []*generation) {
	all := *s.generations.Load()
	kept := all[:1:1]
	for _, g := range all[1:] {
		if age(g.epoch, epoch) > cid.EpochsRead {
			gone = append(gone, g)
		} else {
			kept = append(kept, g)
		}
	}
	if len(gone) > 0 {
		s.generations.Store(&kept)
	}
	return gone
}

// age is how old a generation is, in epochs. The connection IDs of one that is ahead by more than the next epoch are read no more, as if it were too
// old: the clock was set back.
func age(of, now keys.Epoch) int {
	old := int(int32(now - of))
	if old < -1 {
		return math.MaxInt
	}
	return max(old, -old)
}

// eachAged does something to the connections of generations that are older than that.
func (s *Server) eachAged(epoch keys.Epoch, than int, do func(*conn)) {
	s.each(func(c *conn) {
		if age(c.qc.Context().Value(admissionKey{}).(*admission).to.epoch, epoch) > than {
			do(c)
		}
	})
}
