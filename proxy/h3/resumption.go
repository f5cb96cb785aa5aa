package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"slices"
	"time"

	"nearcast/proxy/h3/replay"
)

// extensionEarlyData is TLS's number for early_data (RFC 8446 §4.2.10).
const extensionEarlyData = 42

// note is what our tickets say besides what TLS and QUIC put into them.
type note struct {
	made      time.Time
	maxHeader uint64 // SETTINGS_MAX_FIELD_SECTION_SIZE
}

// notePrefix begins the note among a session's Extra. 8 octets of Unix time in nanoseconds follow, and 8 of the setting.
var notePrefix = []byte("nearcast-note1")

func (n note) append(b []byte) []byte {
	b = append(b, notePrefix...)
	b = binary.BigEndian.AppendUint64(b, uint64(n.made.UnixNano()))
	return binary.BigEndian.AppendUint64(b, n.maxHeader)
}

// findNote looks for the note in a session's Extra.
func findNote(extra [][]byte) (n note, ok bool) {
	for _, e := range extra {
		if b, found := bytes.CutPrefix(e, notePrefix); found && len(b) == 16 {
			return note{time.Unix(0, int64(binary.BigEndian.Uint64(b))), binary.BigEndian.Uint64(b[8:])}, true
		}
	}
	return note{}, false
}

// noter writes notes into tickets, and reads those that clients bring early data with.
type noter struct {
	keys      *tls.Config // holds the ticket keys, or what has them
	replay    *replay.Register
	maxHeader uint64
	now       func() time.Time
}

// quicTLS is the configuration for QUIC.
func (c *Config) quicTLS(now func() time.Time) *tls.Config {
	cfg := serverTLS(c.TLS, c.tickets(now))
	if !c.EarlyData {
		return cfg
	}
	return (&noter{keys: cfg, replay: c.Replay, maxHeader: uint64(c.MaxHeader), now: now}).use()
}

// use is the configuration that keys is, with tickets that hold notes, so that it can be told what early data is good for.
func (n *noter) use() *tls.Config {
	cfg, inner := n.keys.Clone(), n.keys.GetConfigForClient
	n.write(cfg)
	cfg.GetConfigForClient = func(info *tls.ClientHelloInfo) (own *tls.Config, err error) {
		if inner != nil {
			if own, err = inner(info); err != nil {
				return nil, err
			}
		}
		asks := slices.Contains(info.Extensions, extensionEarlyData)
		switch {
		case own == nil && !asks:
			return nil, nil
		case own == nil:
			own = cfg.Clone()
		default:
			own = own.Clone()
			n.write(own)
		}
		if asks {
			n.read(own, ticketOf(info.Context()))
		}
		return own, nil
	}
	return cfg
}

// write has the tickets of cfg hold a note.
func (n *noter) write(cfg *tls.Config) {
	wrap := cfg.WrapSession
	if wrap == nil {
		wrap = n.keys.EncryptTicket
	}
	cfg.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		s.Extra = append(s.Extra, note{n.now(), n.maxHeader}.append(nil))
		return wrap(cs, s)
	}
}

// read has cfg, which is of one connection alone, look at the note of the ticket that early data comes with: the first that the client offers
// (RFC 8446 §4.2.10). Early data of who may rely on more than our settings allow is refused (RFC 9114 §7.2.4.2).
func (n *noter) read(cfg *tls.Config, ticket *replay.Ticket) {
	unwrap, seen := cfg.UnwrapSession, false
	if unwrap == nil {
		unwrap = n.keys.DecryptTicket
	}
	cfg.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		s, err := unwrap(identity, cs)
		first := !seen
		seen = true
		if s == nil || err != nil || !first {
			return s, err
		}
		said, ok := findNote(s.Extra)
		if !ok || said.maxHeader > n.maxHeader {
			s.EarlyData = false
		}
		if ticket != nil && n.replay != nil {
			*ticket = n.replay.Ticket(identity, said.made)
		}
		return s, nil
	}
}

type earlyTicket struct{}

// withTicket gives a connection's context a place for the ticket that it brings early data with. It is written during the ClientHello, and read after Accept.
func withTicket(ctx context.Context) context.Context {
	return context.WithValue(ctx, earlyTicket{}, new(replay.Ticket))
}

// ticketOf is that place; nil when there is none.
func ticketOf(ctx context.Context) *replay.Ticket {
	t, _ := ctx.Value(earlyTicket{}).(*replay.Ticket)
	return t
}
