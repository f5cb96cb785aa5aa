package rescue

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// An operator who stops an edge is not warned of its silence, and one whose edges have never heard each other is told what to look at.
func TestNews(t *testing.T) {
	heard := func(r reach, s State, instance uint8) *view {
		return &view{reach: r, state: s, instance: instance, heard: true}
	}
	deaf := heard(dead, Announcing, 1)
	deaf.deaf = time.Unix(1, 0)
	for _, c := range []struct {
		name   string
		old, v *view
		level  slog.Level
		want   string // "": nothing
	}{
		{"the first hello, half a handshake", &view{}, heard(unknown, Announcing, 7), 0, ""},
		{"both ways", heard(unknown, Announcing, 7), heard(up, Announcing, 7), slog.LevelInfo, "is heard"},
		{"both at once", &view{}, heard(up, Announcing, 7), slog.LevelInfo, "is heard"},
		{"never heard", &view{}, &view{reach: dead}, slog.LevelWarn, "same fleet secret"},
		{"silent", heard(up, Announcing, 1), heard(dead, Announcing, 1), slog.LevelWarn, "not heard any more"},
		{"deaf", heard(up, Announcing, 1), deaf, slog.LevelWarn, "does not hear us"},
		{"stopped, and dead at once", heard(up, Draining, 1), heard(dead, Gone, 1), slog.LevelInfo, "has stopped"},
		{"stopped", heard(up, Draining, 1), heard(up, Gone, 1), slog.LevelInfo, "has stopped"},
		{"silent after it stopped", heard(up, Gone, 1), heard(dead, Gone, 1), 0, ""},
		{"back after it stopped", heard(dead, Gone, 1), heard(up, Announcing, 2), slog.LevelInfo, "is heard"},
		{"started anew", heard(up, Announcing, 1), heard(up, Announcing, 2), slog.LevelInfo, "started anew"},
		{"drains", heard(up, Announcing, 1), heard(up, Draining, 1), slog.LevelInfo, "another state"},
		{"nothing new", heard(up, Announcing, 1), heard(up, Announcing, 1), 0, ""},
	} {
		level, got := c.v.news(c.old)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || got != "" && level != c.level {
			t.Errorf("%s: %v %q", c.name, level, got)
		}
	}
}

// Every line of an edge's log has its own name as "edge": a second one would hide it from whoever parses.
func TestLogNamesThePeer(t *testing.T) {
	var log lockedLog
	own := slog.New(slog.NewTextHandler(&log, nil)).With("edge", "fra-1")
	fleetOf(t, families[0], fleetOptions{n: 2, log: own, params: func(edge int) [8]byte { return [8]byte{byte(edge)} }})
	await(t, "both warnings", func() bool { return log.count("give all edges the same limits.max_streams") == 2 })
	log.mu.Lock()
	defer log.mu.Unlock()
	for line := range strings.Lines(log.b.String()) {
		if strings.Count(line, " edge=") > 1 {
			t.Error(line)
		}
	}
}
