package h3

import (
	"crypto/tls"
	"time"

	"nearcast/proxy/ticket"
)

// tickets is the box of the session tickets, one for all the sockets of a server.
func (c *Config) tickets(now func() time.Time) *ticket.Box {
	if c.Fleet != nil && c.Fleet.Keys != nil {
		return ticket.Shared(c.Fleet.Keys, ticket.QUIC, now)
	}
	return ticket.Own(now)
}

// serverTLS is the configuration for QUIC: h3 is the only protocol, and the tickets are the box's unless from has its own way with
// them (SessionTicketKey, WrapSession, or none at all).
func serverTLS(from *tls.Config, box *ticket.Box) *tls.Config {
	cfg := from.Clone()
	cfg.NextProtos = []string{"h3"}
	//lint:ignore SA1019 whoever sets it is to have it
	if from.SessionTicketsDisabled || from.SessionTicketKey != [32]byte{} || from.WrapSession != nil || from.UnwrapSession != nil {
		return cfg
	}
	box.Use(cfg)
	if inner := from.GetConfigForClient; inner != nil {
		cfg.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			own, err := inner(info)
			if own == nil || err != nil {
				return nil, err
			}
			own = own.Clone()
			own.NextProtos, own.WrapSession, own.UnwrapSession = cfg.NextProtos, cfg.WrapSession, cfg.UnwrapSession
			return own, nil
		}
	}
	return cfg
}
