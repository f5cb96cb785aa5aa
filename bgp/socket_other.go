//go:build !linux

package bgp

import (
	"errors"
	"net"
)

const maxMD5Key = 80

var errLinuxOnly = errors.New("only Linux can")

// setOptions refuses what protects a session; a plain one works.
func setOptions(_ int, o socketOptions) error {
	switch {
	case !o.password.empty():
		return &socketError{"a password (TCP MD5, RFC 2385)", errLinuxOnly}
	case o.minTTL != 0:
		return &socketError{"TTL security (RFC 5082)", errLinuxOnly}
	}
	return nil
}

// ownSocket can't be told here.
func ownSocket(*net.TCPConn) (bool, error) { return true, nil }

// sendQueue can't be told here.
func sendQueue(*net.TCPConn) (int, bool) { return 0, false }
