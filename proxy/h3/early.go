package h3

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/replay"
	"nearcast/proxy/message"
)

// maxWaiting bounds the requests that wait for their handshakes at a time. Beyond it they are refused with 425.
const maxWaiting = 1024

// admitEarly prepares a connection's context for early data.
func (s *Server) admitEarly(ctx context.Context) context.Context {
	if !s.cfg.EarlyData || s.cfg.Replay == nil {
		return ctx
	}
	return withTicket(ctx)
}

// held reports whether what came in early data must wait for the handshake: its ticket has been used, or may have been. The client has proven by now
// that it has the ticket's key. It is called once for each connection, also when the handshake is complete already: the flight may come again.
func (s *Server) held(qc *quic.Conn) bool {
	ticket := ticketOf(qc.Context())
	return ticket != nil && qc.ConnectionState().Used0RTT && s.cfg.Replay.Use(*ticket, time.Now()) != replay.Accepted
}

// handshake is a conn whose handshake requests may wait for. It implements message.Handshake.
type handshake conn

// Complete implements message.Handshake.
func (h *handshake) Complete() bool { return !(*conn)(h).early() }

var errManyWait = errors.New("too many requests wait for their handshakes")

// Wait implements message.Handshake. QUIC bounds the wait: a handshake that takes too long ends the connection, and with it its requests.
func (h *handshake) Wait(ctx context.Context) (*message.TLS, error) {
	c := (*conn)(h)
	if c.early() {
		s := c.server
		defer s.awaiting.Add(-1)
		if s.awaiting.Add(1) > maxWaiting {
			return nil, errManyWait
		}
		select {
		case <-c.qc.HandshakeComplete():
		case <-c.base.Done():
			return nil, context.Cause(c.base)
		case <-ctx.Done():
			return nil, message.Cause(ctx)
		}
	}
	return c.info.TLS, nil
}

// settle lets a request of a held connection wait for the handshake. A replay waits in vain.
func (x *exchange) settle() error {
	x.worker.handOver()
	t, err := (*handshake)(x.conn).Wait(x.str.Context())
	if err != nil {
		if errors.Is(err, errManyWait) {
			return errEarly
		}
		return err
	}
	x.req.TLS = t
	return nil
}

// parameters are what a server's tickets promise to a client that comes back with early data. A server that promises less than another refuses early
// data with the other's tickets (RFC 9000 §7.4.1, RFC 9114 §7.2.4.2).
type parameters struct {
	earlyData                   bool
	streamWindow, connWindow    uint64 // initial_max_stream_data_*, initial_max_data
	streams, uniStreams, header uint64 // initial_max_streams_*, SETTINGS_MAX_FIELD_SECTION_SIZE
}

func (p parameters) digest() (d [8]byte) {
	b := []byte("nearcast h3 parameters 1\x00\x00")
	if p.earlyData {
		b[len(b)-1] = 1
	}
	for _, v := range [...]uint64{p.streamWindow, p.connWindow, p.streams, p.uniStreams, p.header} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	sum := sha256.Sum256(b)
	copy(d[:], sum[:])
	return d
}

// Parameters is a digest of what a client's early data depends on: limits that tickets carry, and whether early data is on. A ticket is good for early
// data at another edge when both have the same. Timeouts and keys are no part of it.
func Parameters(cfg Config) [8]byte { return cfg.withDefaults().parameters().digest() }

func (c Config) parameters() parameters {
	q := c.quic()
	return parameters{earlyData: q.Allow0RTT, streamWindow: q.InitialStreamReceiveWindow, connWindow: q.InitialConnectionReceiveWindow,
		streams: uint64(q.MaxIncomingStreams), uniStreams: uint64(q.MaxIncomingUniStreams), header: uint64(c.MaxHeader)}
}

// withParameters has the hub tell the other edges' hubs what they are.
func (c Config) withParameters() Config {
	if c.Fleet == nil || c.Fleet.Rescue == nil {
		return c
	}
	fleet, hub := *c.Fleet, *c.Fleet.Rescue
	hub.Parameters, fleet.Rescue = Parameters(c), &hub
	c.Fleet = &fleet
	return c
}
