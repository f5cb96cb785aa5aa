package bfd

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// waker ends a wait from another goroutine.
type waker struct{ fd int }

func newWaker() (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return waker{fd}, err
}

func (w waker) wake() {
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.fd, one[:])
}

func (w waker) drain() {
	var b [8]byte
	_, _ = unix.Read(w.fd, b[:])
}

func (w waker) close() { unix.Close(w.fd) }
