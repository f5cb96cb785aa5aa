//go:build !linux

package front

import (
	"errors"
	"net"
)

func pauseTCP(net.Listener) error { return errors.ErrUnsupported }

func resumeTCP(net.Listener) error { return errors.ErrUnsupported }
