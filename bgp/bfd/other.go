//go:build !linux

package bfd

import (
	"errors"
	"net/netip"
)

type sockets struct {
	local netip.Addr
	fault fault
}

func noSockets() sockets { return sockets{} }

type waker struct{}

func newWaker() (waker, error) { return waker{}, errors.New("only Linux has what it needs") }

func (waker) wake()  {}
func (waker) close() {}

type loop struct{}

func newLoop(*Engine) *loop { return &loop{} }

func (*loop) run() {}
