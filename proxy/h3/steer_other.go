//go:build !linux

package h3

import (
	"errors"
	"net"
)

func steer([]*net.UDPConn) error { return errors.ErrUnsupported }
