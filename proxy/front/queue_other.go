//go:build !linux

package front

import (
	"errors"
	"net"
)

func acceptQueue(net.Listener) (AcceptQueue, error) { return AcceptQueue{}, errors.ErrUnsupported }
