package loopback

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// errDown is the fault of an address that is on an interface and not on this machine.
var errDown = errors.New("packets to it leave this machine although an interface has it: that interface is down; ip link set lo up")

// Prepare looks at the addresses, and with manage puts those on the loopback interface that this machine does not have. What an earlier
// process added and could not remove is taken over. On an error what was added is still there: see Undo.
func (a *Addresses) Prepare() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.manage {
		if err := a.host.permitted(); err != nil {
			return fmt.Errorf("anycast.manage_addresses: %w", err)
		}
	}
	there, err := a.host.list()
	if err != nil {
		return fmt.Errorf("anycast.addresses: %w", err)
	}
	a.reportLeftovers(there)
	for i, addr := range a.all {
		if err := a.prepare(i, addr, there); err != nil {
			return fmt.Errorf("anycast.addresses[%d] %s: %w", i, addr, err)
		}
	}
	return nil
}

func (a *Addresses) prepare(i int, addr netip.Addr, there []entry) error {
	st := &a.status[i]
	found, marked := find(there, addr)
	st.Ours = a.manage && marked
	a.marks = a.marks || marked
	switch {
	case st.Ours:
		a.log.Info("the anycast address was left by an earlier process and is taken over", "address", addr)
	case found && a.manage:
		a.log.Info("the anycast address is there already, put by somebody else; it will not be removed", "address", addr)
	case a.manage:
		if err := a.add(i); err != nil {
			return err
		}
		a.log.Info("anycast address added to the loopback interface", "address", addr)
	}
	here, err := a.arrived(addr)
	if err != nil {
		return err
	}
	st.Present = here
	switch {
	case here:
	case a.manage:
		return errDown
	default:
		a.log.Warn("this machine does not have the anycast address: the edge cannot ask itself there and nothing will be announced; "+
			"add it to the loopback interface, or set anycast.manage_addresses", "address", addr)
	}
	return nil
}

// arrived reports whether packets to an address stay here. It waits a little for one that is managed: the kernel makes an IPv6 address's
// route after it has said that the address is there.
func (a *Addresses) arrived(addr netip.Addr) (bool, error) {
	for tries := 0; ; tries++ {
		here, err := a.host.local(addr)
		if here || err != nil || !a.manage || tries == arrivalTries {
			return here, err
		}
		time.Sleep(arrivalPause)
	}
}

const (
	arrivalPause = 10 * time.Millisecond
	arrivalTries = 100
)

// find looks for an address among those there are; marked when it is on the loopback interface and has the mark.
func find(there []entry, addr netip.Addr) (found, marked bool) {
	for _, e := range there {
		if e.addr == addr {
			found = true
			marked = marked || e.loopback && e.marked
		}
	}
	return found, marked
}

// add puts an address on the loopback interface, and finds out whether the kernel keeps the mark.
func (a *Addresses) add(i int) error {
	addr := a.all[i]
	created, err := a.host.add(addr)
	if err != nil || !created {
		return err
	}
	a.added[addr] = true
	a.status[i].Ours = true
	if a.marks {
		return nil
	}
	there, err := a.host.list()
	if err != nil {
		return err
	}
	if _, a.marks = find(there, addr); !a.marks && len(a.added) == 1 {
		a.log.Warn("this kernel does not keep who added an address (Linux before 5.18): if this process is killed its addresses stay, " +
			"and the next one takes them for the operator's; remove them by hand then")
	}
	return nil
}

// reportLeftovers names what an earlier process with another configuration left. It is not removed: another edge on this machine may
// have put it there.
func (a *Addresses) reportLeftovers(there []entry) {
	if !a.manage {
		return
	}
	for _, e := range there {
		if e.loopback && e.marked && !slices.Contains(a.all, e.addr) {
			a.log.Warn("the loopback interface has an address that an edge added and that is not in anycast.addresses; "+
				"if no other edge runs on this machine, remove it: ip addr del ADDRESS dev lo", "address", e.addr)
		}
	}
}

// Undo removes what this process has added, after a start that failed. What was there before stays: it may be in use by another.
func (a *Addresses) Undo() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, addr := range a.all {
		if a.added[addr] {
			a.remove(i)
		}
	}
	a.host.close()
}

// Remove takes what nearcast has put on the loopback interface from it, this process or one that was killed. It comes after everything
// else: whoever removes the address of a route that is still announced, or that a router still uses, blackholes its clients.
// The addresses are of no use afterwards.
func (a *Addresses) Remove() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.host.close()
	if !a.manage {
		return
	}
	there, err := a.host.list()
	if err != nil {
		a.log.Warn("the anycast addresses stay: the kernel does not say which there are", "error", err)
		return
	}
	for i, addr := range a.all {
		if _, marked := find(there, addr); marked || a.added[addr] && !a.marks {
			a.remove(i)
		}
	}
}

func (a *Addresses) remove(i int) {
	addr := a.all[i]
	if err := a.host.remove(addr); err != nil {
		a.log.Warn("the anycast address stays on the loopback interface", "address", addr, "error", err)
		return
	}
	delete(a.added, addr)
	a.status[i].Present, a.status[i].Ours = false, false
	a.log.Info("anycast address removed from the loopback interface", "address", addr)
}
