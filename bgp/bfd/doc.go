// Package bfd tells within a few intervals that the path to a neighbor, or what is at its other end, is gone: Bidirectional
// Forwarding Detection, RFC 5880, over one hop (RFC 5881) or several (RFC 5883), IPv4 and IPv6. Asynchronous mode; neither
// authentication nor echo nor demand mode.
//
//	Engine: one thread ── ppoll ──▶ receive sockets, one a local address and port ──▶ machine.receive
//	                      clock ──▶ machine.advance ──▶ send sockets, one a session
//	                      lease ──▶ machine.hold, when what the routes promise is no longer kept
//
// A machine is RFC 5880 section 6.8 without clock and socket: time and packets go in, packets and transitions come out. The engine has
// one thread for all of them, with no Go timer, no lock that it waits for and no allocation on the way of a packet, so that neither a full CPU
// nor a garbage collection makes the router believe that this edge is gone.
package bfd
