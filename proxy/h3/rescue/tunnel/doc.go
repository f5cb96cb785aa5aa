// Package tunnel carries QUIC packets between two edges in authenticated, encrypted datagrams, tells each what the other says of itself, and
// whether it is alive. It does no I/O and looks at no clock: datagrams and times are passed in.
package tunnel
