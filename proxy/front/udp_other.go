//go:build !linux

package front

import "net"

// listenUDP opens one socket: which of several a packet comes to can't be chosen on this system.
func listenUDP(proto, address string, _ int) ([]*net.UDPConn, error) {
	pc, err := net.ListenPacket(proto, address)
	if err != nil {
		return nil, err
	}
	return []*net.UDPConn{pc.(*net.UDPConn)}, nil
}
