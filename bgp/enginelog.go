package bgp

import (
	"context"
	"log/slog"
)

// engineLog takes the embedded speaker's log. Sessions are logged by the filter, which knows the router's address and the reason;
// what the speaker says of its loopback peers is for debugging, except its errors.
type engineLog struct{ next slog.Handler }

// Enabled implements slog.Handler.
func (h *engineLog) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, engineLevel(l))
}

// Handle implements slog.Handler.
func (h *engineLog) Handle(ctx context.Context, r slog.Record) error {
	lowered := slog.NewRecord(r.Time, engineLevel(r.Level), "embedded speaker: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool { lowered.AddAttrs(a); return true })
	return h.next.Handle(ctx, lowered)
}

// WithAttrs implements slog.Handler.
func (h *engineLog) WithAttrs(as []slog.Attr) slog.Handler { return &engineLog{h.next.WithAttrs(as)} }

// WithGroup implements slog.Handler.
func (h *engineLog) WithGroup(name string) slog.Handler { return &engineLog{h.next.WithGroup(name)} }

func engineLevel(l slog.Level) slog.Level {
	switch {
	case l >= slog.LevelError:
		return slog.LevelWarn
	case l >= slog.LevelInfo:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}
