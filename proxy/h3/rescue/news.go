package rescue

import "log/slog"

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
			"does it run, with the same fleet secret, the same date, rescue on and both edges in its regions, and is UDP let through at this port, both ways, between the unicast addresses?"
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
