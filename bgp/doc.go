// Package bgp announces the anycast prefixes exactly while this edge can serve them.
//
//	health ──▶ Announcer ──▶ Decide (pure) ──▶ Speaker.SetRoutes ──▶ embedded GoBGP ──▶ filter ──▶ router
//	           wakes, timers                   the whole set          one table           a TCP connection each
//
// The embedded speaker never meets a router. It dials loopback addresses, behind which a session of this package joins it with
// a connection to the router. That session, the filter, owns the TCP socket (source address, MD5, TTL security), takes graceful
// restart and everything else out of the OPENs that an edge must not agree to, and drops every UPDATE that a router sends, unread:
// nothing that a router announces is of use here, a full table would cost a gigabyte, and a malformed one has killed speakers.
//
// What goes out is the session's own: the embedded speaker's UPDATEs say which prefixes are announced, have changed or are withdrawn,
// and the session makes the path attributes and next hops that this neighbor is to see. It remembers what it sent, and an audit
// compares that with what is wanted every second.
package bgp
