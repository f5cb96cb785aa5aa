//go:build !linux

package loopback

import (
	"errors"
	"net"
	"net/netip"
)

var errLinuxOnly = errors.New("only Linux can; put the addresses on the loopback interface yourself and leave anycast.manage_addresses out")

// elsewhere looks at interfaces only.
type elsewhere struct{}

func openHost() (host, error) { return elsewhere{}, nil }

func (elsewhere) permitted() error             { return errLinuxOnly }
func (elsewhere) add(netip.Addr) (bool, error) { return false, errLinuxOnly }
func (elsewhere) remove(netip.Addr) error      { return errLinuxOnly }
func (elsewhere) close()                       {}

func (elsewhere) watch() (<-chan struct{}, func()) { return nil, func() {} }

func (elsewhere) list() ([]entry, error) {
	all, err := net.InterfaceAddrs()
	var out []entry
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, entry{addr: p.Addr().Unmap()})
		}
	}
	return out, err
}

func (e elsewhere) local(addr netip.Addr) (bool, error) {
	there, err := e.list()
	found, _ := find(there, addr)
	return found, err
}

func (elsewhere) toward(netip.Addr) string { return "" }
