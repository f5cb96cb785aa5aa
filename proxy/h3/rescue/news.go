package rescue

import (
	"log/slog"
	"time"
)

const anew = ": its clients who come here are told to connect anew"

// news is what the log says of a change from old to v; "" is nothing.
func (v *view) news(old *view) (slog.Level, string) {
	switch {
	case v.heard && v.state == Gone:
		if old.heard && old.state == Gone {
			return 0, "" // that it is silent now is no surprise
		}
		return slog.LevelInfo, "another edge's QUIC listener has stopped" + anew
	case v.reach == dead && old.reach != dead && !v.deaf.IsZero():
		return slog.LevelWarn, "another edge's QUIC listener does not hear us" + anew +
			"; is UDP let through to it, from our unicast address to its own, at this port?"
	case v.reach == dead && old.reach != dead && !v.heard:
		return slog.LevelWarn, "another edge's QUIC listener has not been heard since our start, so no connection outlives a move between it and us: " +
			"does it run, with HTTP/3 at this port, the same fleet secret, the same date and both edges in its regions, and is UDP let through at this port, both ways, between the unicast addresses?"
	case v.reach == dead && old.reach != dead:
		return slog.LevelWarn, "another edge's QUIC listener is not heard any more" + anew
	case v.reach == up && old.reach != up:
		return slog.LevelInfo, "another edge's QUIC listener is heard"
	case old.heard && v.instance != old.instance:
		return slog.LevelInfo, "another edge's QUIC listener was started anew"
	case old.heard && v.state != old.state:
		return slog.LevelInfo, "another edge's QUIC listener is in another state"
	}
	return 0, ""
}

const (
	chatterLines = 8                // at once
	chatterEvery = 10 * time.Second // one more
)

// chatter bounds what the log says of a peer that comes and goes. Only Run uses it.
type chatter struct {
	at     time.Time // up to when lines were made up for
	said   int       // that were not made up for
	unsaid int       // changes without a line
}

// allow says whether there may be a line of one more change.
func (c *chatter) allow(now time.Time) bool {
	if !c.take(now) {
		c.unsaid++
		return false
	}
	return true
}

// rest is how many changes had no line, once there may be one that says so.
func (c *chatter) rest(now time.Time) (n int) {
	if c.unsaid > 0 && c.take(now) {
		n, c.unsaid = c.unsaid, 0
	}
	return n
}

func (c *chatter) take(now time.Time) bool {
	past := now.Sub(c.at) / chatterEvery
	if c.at.IsZero() || int(past) >= c.said {
		c.at, c.said = now, 0
	} else {
		c.at, c.said = c.at.Add(past*chatterEvery), c.said-int(past)
	}
	if c.said == chatterLines {
		return false
	}
	c.said++
	return true
}
