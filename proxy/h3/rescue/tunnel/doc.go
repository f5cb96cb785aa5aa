// Package tunnel carries QUIC packets between two edges in authenticated, encrypted datagrams, tells each what the other says of itself, and
// whether it is alive. It does no I/O and looks at no clock: datagrams and times are passed in.
//
// # Datagrams
//
// They go from the UDP port of QUIC to the same port of the other edge's unicast address. Numbers are in network byte order. The header is in
// clear and authenticated; all after it is AES-128-GCM with the header as associated data, and ends with its tag of 16 octets. The first octet is
// 0x0e: QUIC never begins with 00xxxxxx (RFC 9443 §3). No datagram has more than 1452 octets.
//
// A packet, or half of one:
//
//	octet  0      0x0e
//	octet  1      01 version | 4 bits type: 1 forward, 2 return | 00
//	octet  2      the receiver's socket, in the low 5 bits: what its kernel steers by
//	octet  3      00 | 2 bits: 0 whole, 1 first half, 2 second half | 0 | 1 bit: the addresses are IPv6 | 2 bits ECN (RFC 3168 §5)
//	octets 4-7    the sender's edge number
//	octets 8-11   the receiver's
//	octets 12-15  session
//	octets 16-21  sequence number, that of a second half one more than the first's
//	then, not in a second half:
//	              the client's address and port, the anycast address and port: 12 octets for IPv4, 36 for IPv6
//	              the packet, or a part of it
//
// That is 50 octets more than the packet for IPv4, 74 for IPv6. Bits that are shown as 0 must be. The nonce is octets 10 to 21: a session's key
// seals no sequence number twice. A packet is carried in two datagrams, never more, when one would be larger than what the path is known to carry.
//
// A hello:
//
//	octet  0      0x0e
//	octet  1      01 version | 4 bits type: 0 | 2 low bits of the epoch whose key it is sealed with
//	octets 2-3    0
//	octets 4-7    the sender's edge number
//	octets 8-11   the receiver's
//	octets 12-23  nonce, random
//	16 octets     process: random, drawn at the sender's start
//	16            session: random, the sender's newest
//	16            challenge: random, to be echoed
//	16            echo: the receiver's challenge; zero when none is known
//	16            holds: the newest session of the receiver's of which the sender has proof; zero for none
//	8             number of the hello; a process's go up from 1
//	8             heard: the highest number of the receiver's hellos that came; 0 for none
//	4             microseconds since then
//	8             probed: the highest number of those that were probes of the path
//	4             epoch
//	1             flags: 1 an answer is asked for, 2 this is a probe of the path
//	1             state: 2 is gone; others are for the users of the tunnel
//	1             instance
//	8             parameters
//	1 + 0, 4, 16  the length of, and the anycast address that this was sent from; none in most
//	1             how many sources follow, 16 at most
//	each 1 + 4 or 16, 8: an address that probes came from, and the highest number of them
//	the rest      padding
//
// # Keys
//
// For each secret, epoch and direction (the two edge numbers) there is a trunk key (fleet/keys, use "tunnel"). Hellos are sealed with a key made
// from it, with random nonces, a few million in an epoch at most. The sender takes the first secret and its epoch when it draws a session, and the
// receiver tries all secrets of the epoch that the header names, if that is its own or next to it.
//
// The key of packets is HKDF-SHA-256 of the sender's trunk key, with the sender's session and the receiver's as salt, and so is the session
// number in the header. Both sides have drawn their part anew since their start, so that no key comes about twice.
//
// # Sessions
//
// A hello of a session that is not known proves that it is of now by echoing the challenge of the receiver, which draws another one at each session
// that it takes up. Until then it changes nothing: it is answered by a hello which echoes its own challenge, and asks for the same. That answer is
// no longer than what it answers, and goes to the address in the configuration, wherever the question came from. So two edges have each other's
// proof after one and a half round trips:
//
//	A → B  session a, challenge x                      (ask)
//	A ← B  session b, challenge y, echo x              (ask)   A has proof of b
//	A → B  session a, challenge x', echo y, holds b    (ask)   B has proof of a, and may send packets
//	A ← B  session b, challenge y', echo x', holds a           A may send packets
//
// An edge seals with the pair of the peer's newest session and that of its own which the peer says it holds: what it sends can be opened. It draws
// another session when the epoch or the first secret changes, and after 2^30 packets; the one before stays until the peer has the new one.
// When the peer's process is another, all that was the old one's is dropped, and the own session drawn anew too.
//
// Each pair has a window over the last 32768 sequence numbers, each process one over its hellos. Nothing is taken twice.
//
// # Life
//
// Hellos go out four times in DeadAfter. The peer is up while something fresh came within DeadAfter, and dead when not, or at once when it says that
// it is gone. An edge that stood still itself judges nobody until DeadAfter later.
//
// # Path
//
// Datagrams must not be fragmented by IP. 1232 octets are taken for granted (IPv6's 1280); larger sizes up to 1452 are probed with padded hellos in
// the way of RFC 8899, which the next hello of the peer confirms. A confirmed size is probed again, often while it is used: three losses in a row
// lead back to 1232.
package tunnel
