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

// A path that loses packets makes a peer come and go several times a second. All of it is counted, and little of it said.
func TestChatter(t *testing.T) {
	var c chatter
	now := time.Unix(1_700_000_000, 0)
	changes, lines, told := 0, 0, 0
	for range 600 { // a minute
		now = now.Add(100 * time.Millisecond)
		changes++
		if c.allow(now) {
			lines++
		}
		if n := c.rest(now); n > 0 {
			lines++
			told += n
		}
	}
	if most := chatterLines + int(time.Minute/chatterEvery); lines > most || lines < chatterLines {
		t.Errorf("%d lines in a minute, want %d at most", lines, most)
	}
	now = now.Add(chatterEvery)
	told += c.rest(now)
	if c.unsaid != 0 || told == 0 {
		t.Errorf("%d changes are never told", c.unsaid)
	}
	now = now.Add(chatterLines * chatterEvery)
	for i := range chatterLines {
		if !c.allow(now) {
			t.Errorf("after a quiet time change %d has no line", i)
		}
	}
	if c.allow(now) {
		t.Error("no bound")
	}
}
